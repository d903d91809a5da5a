//! TLS as a client, with the certificates that the machine trusts.

use std::{
    io,
    sync::{Arc, OnceLock},
};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{self, ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use wasmill_delivery::grants::TargetHost;

/// Speak TLS on a connection, with whoever can prove to be that host.
pub(super) async fn wrap(stream: TcpStream, host: &TargetHost) -> io::Result<TlsStream<TcpStream>> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let config = CONFIG.get_or_init(config).as_ref().map_err(|problem| io::Error::other(problem.clone()))?;
    TlsConnector::from(Arc::clone(config)).connect(server_name(host)?, stream).await
}

/// Whether it is the certificate that does not do.
pub(super) fn is_certificate(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}

fn server_name(host: &TargetHost) -> io::Result<ServerName<'static>> {
    match host {
        TargetHost::Name(name) => ServerName::try_from(name.clone()).map_err(io::Error::other),
        TargetHost::Address(address) => Ok(ServerName::from(*address)),
    }
}

/// Read once: the file or folder that `SSL_CERT_FILE` or `SSL_CERT_DIR` names, or where this system keeps them.
fn config() -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if trusted == 0 {
        return Err(
            "this machine trusts no certificate; install the package ca-certificates, or name a file of them in \
                    the host's environment as SSL_CERT_FILE"
                .to_owned(),
        );
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
