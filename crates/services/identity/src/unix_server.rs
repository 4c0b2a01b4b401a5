//! What the servers at unix sockets have in common: the socket, and connections that carry what is known of their other ends.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tonic::transport::server::Connected;

/// How often the server asks whether the other end of a quiet connection still answers, and for how long it waits.
pub(crate) const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// After the listener fails for want of memory or descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// Listens at `path`, with these modes of a folder that is made for it and of the socket. A socket that is left over from an
/// earlier run is removed.
///
/// # Errors
/// The folder or the socket cannot be made, or something that is no socket is in its place.
pub(crate) fn bind(path: &Path, folder_mode: u32, mode: u32) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(folder_mode))?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => {
            let message = format!("expected a socket or nothing at {}, saw another file", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// The next connection. A failure to accept is not the end of the service, which the log calls `api`: it waits and goes on.
pub(crate) async fn accept(listener: &UnixListener, api: &str) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "no connection to the {api} was accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// A connection, and what every request of it sees of its other end.
pub(crate) struct Accepted<S, E> {
    stream: S,
    end: E,
}

impl<S, E> Accepted<S, E> {
    pub(crate) fn new(stream: S, end: E) -> Self {
        Self { stream, end }
    }
}

impl<S, E: Clone + Send + Sync + 'static> Connected for Accepted<S, E> {
    type ConnectInfo = E;

    fn connect_info(&self) -> E {
        self.end.clone()
    }
}

impl<S: AsyncRead + Unpin, E: Unpin> AsyncRead for Accepted<S, E> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin, E: Unpin> AsyncWrite for Accepted<S, E> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
