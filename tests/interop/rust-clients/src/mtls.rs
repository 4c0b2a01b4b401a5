//! Mutual TLS by `spiffe-rustls`.

use crate::{Result, chain, say, x509};
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;
use spiffe::X509Source;
use spiffe::cert::spiffe_id_from_der;
use spiffe_rustls::{authorizer, mtls_client, mtls_server};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// How long a connection may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Answers each connection of this one peer with a line that names it, until the process is ended.
pub(crate) async fn serve(address: &str, peer: &str) -> Result<()> {
    let source = X509Source::new().await?;
    let config = mtls_server(source).authorize(authorizer::exact([peer])?).build()?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(address).await?;
    say(&json!({"listening": listener.local_addr()?.to_string()}));
    loop {
        let (connection, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let answered = tokio::time::timeout(LIMIT, answer(acceptor, connection)).await;
            if let Err(error) = answered.map_err(Into::into).flatten() {
                say(&json!({"refused": chain(error.as_ref())}));
            }
        });
    }
}

async fn answer(acceptor: TlsAcceptor, connection: TcpStream) -> Result<()> {
    let mut connection = BufReader::new(acceptor.accept(connection).await?);
    let id = spiffe_id_from_der(leaf(connection.get_ref().get_ref().1.peer_certificates())?)?.to_string();
    connection.read_line(&mut String::new()).await?;
    connection.get_mut().write_all(format!("{id}\n").as_bytes()).await?;
    connection.get_mut().shutdown().await?;
    say(&json!({"served": id}));
    Ok(())
}

/// Connects `count` times, a second apart, and prints whom it met and whom the server says that it met.
pub(crate) async fn dial(address: &str, peer: &str, count: usize) -> Result<()> {
    let source = X509Source::new().await?;
    let config = mtls_client(source).authorize(authorizer::exact([peer])?).build()?;
    let connector = TlsConnector::from(Arc::new(config));
    for made in 0..count {
        if made > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        tokio::time::timeout(LIMIT, ask(&connector, address)).await??;
    }
    Ok(())
}

async fn ask(connector: &TlsConnector, address: &str) -> Result<()> {
    let connection = connector.connect(any_name()?, TcpStream::connect(address).await?).await?;
    let mut connection = BufReader::new(connection);
    connection.get_mut().write_all(b"who am I\n").await?;
    let mut said = String::new();
    connection.read_line(&mut said).await?;
    let leaf = leaf(connection.get_ref().get_ref().1.peer_certificates())?;
    say(&json!({
        "peer": spiffe_id_from_der(leaf)?.to_string(),
        "serial": x509::serial(leaf)?,
        "said": said.trim_end(),
    }));
    Ok(())
}

/// The SPIFFE ID that both ends prove when the source talks to itself: its chain, verified by its bundles.
pub(crate) async fn verified(source: &X509Source) -> Result<String> {
    let own = source.svid()?.spiffe_id().to_string();
    let client = mtls_client(source.clone()).authorize(authorizer::exact([own.as_str()])?).build()?;
    let server = mtls_server(source.clone()).authorize(authorizer::exact([own.as_str()])?).build()?;
    let (near, far) = tokio::io::duplex(1 << 16);
    let (client, server) = tokio::try_join!(
        TlsConnector::from(Arc::new(client)).connect(any_name()?, near),
        TlsAcceptor::from(Arc::new(server)).accept(far)
    )?;
    let seen_by_client = spiffe_id_from_der(leaf(client.get_ref().1.peer_certificates())?)?;
    let seen_by_server = spiffe_id_from_der(leaf(server.get_ref().1.peer_certificates())?)?;
    if seen_by_client != seen_by_server {
        return Err(format!("one end saw {seen_by_client}, the other {seen_by_server}").into());
    }
    Ok(seen_by_client.to_string())
}

fn leaf<'a>(certificates: Option<&'a [CertificateDer<'_>]>) -> Result<&'a [u8]> {
    Ok(certificates.and_then(<[_]>::first).ok_or("the peer has shown no certificate")?)
}

/// TLS asks for a name; the peer is known by its SPIFFE ID.
fn any_name() -> Result<ServerName<'static>> {
    Ok(ServerName::try_from("interop.test")?)
}
