//! An HTTP request as policies are asked about it.

use crate::head::{self, InvalidHead};
use crate::path::{InvalidPath, normalise_path};
use crate::policy::{Ask, Inbound, Ruling, View};
use http::HeaderMap;
use http::request::Parts;
use http::uri::PathAndQuery;
use lictor_model::Http;

/// What a request says of itself, read once.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) method: String,
    pub(crate) host: String,
    path: String,
    merged: Option<String>,
    headers: HeaderMap,
}

/// Why a request is answered with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidRequest {
    #[error(transparent)]
    Head(#[from] InvalidHead),
    #[error(transparent)]
    Path(#[from] InvalidPath),
}

impl Facts {
    /// Reads a request's head. A CONNECT has no path; its target is its host.
    pub(crate) fn read(parts: &Parts) -> Result<Self, InvalidRequest> {
        let host = head::host(parts)?.into_owned();
        let raw = parts.uri.path_and_query().map(PathAndQuery::as_str).unwrap_or_default();
        let (path, merged) = if raw.is_empty() && parts.method == http::Method::CONNECT {
            (String::new(), None)
        } else {
            let normal = normalise_path(raw)?;
            (normal.base.into_owned(), normal.merged)
        };
        let (method, headers) = (parts.method.as_str().to_owned(), parts.headers.clone());
        Ok(Self { method, host, path, merged, headers })
    }

    /// The path with its query, as the application is to get it.
    pub(crate) fn path_and_query(&self) -> &str {
        &self.path
    }

    /// The path alone.
    pub(crate) fn path(&self) -> &str {
        self.path.split(['?', '#']).next().unwrap_or_default()
    }

    /// What a view says of the request on a connection.
    pub(crate) fn ask(&self, view: &View, inbound: &Inbound) -> Ruling {
        let texts = head::header_texts(&self.headers);
        let headers: Vec<(&str, &str)> = texts.iter().map(|(name, value)| (*name, value.as_ref())).collect();
        let http = Http { method: &self.method, path: &self.path, host: &self.host, headers: &headers };
        view.inbound(inbound, Ask::Request(http, self.merged.as_deref()))
    }
}
