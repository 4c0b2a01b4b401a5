//! Whom the keyring believes, as the proxy's views say it.

use lictor_model::TrustDomain;
use lictor_pki::{Change, Keyring, Subscription};
use lictor_proxy::View;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

/// Publishes a new view whenever a federation begins or ends, until the subscription is dropped: open connections of
/// a trust domain that is not believed any more are judged again, and end.
pub(crate) fn follow(keyring: &Keyring, view: &watch::Sender<Arc<View>>) -> Subscription {
    let (keyring_of_listener, view) = (keyring.clone(), view.clone());
    keyring.subscribe(move |change| {
        if matches!(change, Change::Foreign(_)) {
            publish(&keyring_of_listener, &view);
        }
    })
}

/// Changes may be told out of order; the keyring is read while nobody else can publish a view, so the last view has
/// the keyring's last state.
fn publish(keyring: &Keyring, view: &watch::Sender<Arc<View>>) {
    view.send_if_modified(|view| {
        let federated = believed(keyring);
        let changed = *view.federated != federated;
        if changed {
            *view = Arc::new(View { federated: Arc::new(federated), ..(**view).clone() });
        }
        changed
    });
}

/// The foreign trust domains that have an authority; a bundle without any proves nobody.
fn believed(keyring: &Keyring) -> BTreeSet<TrustDomain> {
    let foreign = keyring.foreign();
    let believed = foreign.iter().filter(|(_, bundle)| !bundle.authorities().is_empty());
    believed.map(|(trust_domain, _)| trust_domain.clone()).collect()
}
