//! The client that callbacks are posted with: it goes to addresses that may be called and nowhere else, follows no
//! redirect, and keeps to the machine's trusted certificates.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        self,
        connect::{HttpConnector, dns::Name},
    },
    rt::TokioExecutor,
};
use tower_service::Service;
use wasmill_runtime::ClientTls;

use super::CallbackRules;

pub(super) type Client = legacy::Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

pub(super) fn client(rules: &Arc<CallbackRules>) -> Client {
    let tls = ClientTls::of_machine();
    if let Some(problem) = tls.problem.filter(|_| rules.allow_https()) {
        tracing::error!(problem, "callbacks over https will fail");
    }
    let mut http = HttpConnector::new_with_resolver(Resolver { rules: Arc::clone(rules) });
    http.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config((*tls.config).clone())
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    legacy::Client::builder(TokioExecutor::new()).build(connector)
}

/// Resolves names to addresses that may be called.
#[derive(Clone)]
pub(super) struct Resolver {
    rules: Arc<CallbackRules>,
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let rules = Arc::clone(&self.rules);
        Box::pin(async move {
            let host = name.as_str().to_ascii_lowercase();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let open: Vec<SocketAddr> = found.filter(|address| rules.allows_address(&host, address.ip())).collect();
            if open.is_empty() {
                let problem = format!("{host} has no address that may be called; private ones only if it is named");
                return Err(io::Error::other(problem));
            }
            Ok(open.into_iter())
        })
    }
}
