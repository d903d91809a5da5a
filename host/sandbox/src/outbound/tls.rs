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

const NOBODY_TRUSTED: &str = "this machine trusts no certificate; install the package ca-certificates, or name a file of \
                              them in the host's environment as SSL_CERT_FILE";

/// Speak TLS on a connection, with whoever can prove to be that host.
pub(super) async fn wrap(stream: TcpStream, host: &TargetHost) -> io::Result<TlsStream<TcpStream>> {
    let tls = ClientTls::of_machine();
    if let Some(problem) = tls.problem {
        return Err(io::Error::other(problem));
    }
    TlsConnector::from(Arc::clone(&tls.config)).connect(server_name(host)?, stream).await
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

/// How this process speaks TLS as a client.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// Trusts whom the machine trusts, maybe nobody.
    pub config: Arc<ClientConfig>,
    /// Why it trusts nobody, in words for an operator.
    pub problem: Option<&'static str>,
}

impl ClientTls {
    /// The machine's, read once: the certificates are in the file or folder that `SSL_CERT_FILE` or `SSL_CERT_DIR`
    /// names, or where this system keeps them.
    #[must_use]
    pub fn of_machine() -> &'static Self {
        static TLS: OnceLock<ClientTls> = OnceLock::new();
        TLS.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            let (trusted, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("the provider has the versions that rustls is built with")
                .with_root_certificates(roots)
                .with_no_client_auth();
            Self { config: Arc::new(config), problem: (trusted == 0).then_some(NOBODY_TRUSTED) }
        })
    }
}
