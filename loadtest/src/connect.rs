//! Byte streams to the server: TCP, and TLS where the URL says so.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::target::Target;

/// Either kind of byte stream.
pub(crate) trait Stream:
    tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send
{
}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Stream for T {}

/// How long a client tries to get in.
pub(crate) const JOIN_TIMEOUT: Duration = Duration::from_secs(60);
/// EMFILE and ENFILE: this process, or the machine, has no descriptor left.
const NO_DESCRIPTORS: [i32; 2] = [24, 23];

/// Connects; an error says what to do.
pub(crate) async fn connect(
    target: &Target,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<Box<dyn Stream>, String> {
    let tcp = TcpStream::connect(target.address).await.map_err(|error| {
        if error.raw_os_error().is_some_and(|code| NO_DESCRIPTORS.contains(&code)) {
            "too many open files; raise the limit with ulimit -n".to_owned()
        } else {
            format!("cannot connect to {}: {error}; is the server running?", target.address)
        }
    })?;
    // A message of signalling must not wait for the next one.
    let _ = tcp.set_nodelay(true);
    let Some(tls) = tls else {
        return Ok(Box::new(tcp));
    };
    let name = ServerName::try_from(target.host.clone())
        .map_err(|_| format!("{} is no host name", target.host))?;
    let connected = TlsConnector::from(tls).connect(name, tcp).await.map_err(|error| {
        let text = error.to_string();
        if text.contains("certificate") {
            format!(
                "the server's certificate is not trusted ({text}); use --insecure for a \
                 self-signed one"
            )
        } else {
            format!("TLS: {text}; does the server speak HTTPS there?")
        }
    })?;
    Ok(Box::new(connected))
}
