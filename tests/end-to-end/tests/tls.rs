//! HTTP requests of handlers and callbacks over TLS: a server that can prove who it is, and one that cannot.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use end_to_end::{PATIENCE, TestHost, handler_with_queue, quarantined, server::SlowServer};
use host_process::project_root;
use reqwest::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

fn certificate(name: &str) -> PathBuf {
    project_root().join("tests/end-to-end/certificates").join(name)
}

/// The beginnings of the requests that a server got.
type Heard = Arc<Mutex<Vec<String>>>;

/// A server for `localhost`. Answers with its port.
fn serve() -> Result<(u16, Heard)> {
    let heard = Heard::default();
    let hears = Arc::clone(&heard);
    let chain = vec![CertificateDer::from_pem_file(certificate("localhost.pem"))?];
    let key = PrivateKeyDer::from_pem_file(certificate("localhost.key"))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = vec![0; 4_096];
                let read = stream.read(&mut request).await.unwrap_or_default();
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                hears.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecure";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            }
        });
    });
    Ok((port, heard))
}

#[test]
fn a_server_proves_who_it_is_or_gets_nothing() -> Result<()> {
    let (port, _) = serve()?;
    let grants = format!(
        "grants = {{ http = [\"https://localhost:{port}\", \"https://127.0.0.1:{port}\"], addresses = [\"127.0.0.1\", \"::1\"] }}"
    );
    let mut config = "[queue.fetched]\nbindings = [\"fetched\"]\n".to_owned();
    for handler in ["right", "wrong", "stranger"] {
        config += &handler_with_queue(handler, "guest-fetch", &grants)?;
    }
    let ask = |host: &TestHost, handler: &str, at: &str| -> Result<()> {
        host.client().post(
            &format!("/v1/topics/{handler}/messages"),
            "text/plain",
            format!("GET https://{at}:{port}/"),
        )?;
        host.client().wait_until_settled(PATIENCE)
    };
    let log = |host: &TestHost, handler: &str| -> Result<String> {
        let records = quarantined(host.client(), handler)?;
        Ok(records.first().context("it is not in quarantine")?["attempts"].to_string())
    };
    let host = TestHost::start_with(&config, &[("SSL_CERT_FILE", &certificate("authority.pem"))])?;
    ask(&host, "right", "localhost")?;
    assert_eq!(host.client().get("/v1/queues/fetched")?["messages"], 1);
    // The same server under a name that its certificate does not have.
    ask(&host, "wrong", "127.0.0.1")?;
    let why = log(&host, "wrong")?;
    assert!(why.contains("TlsCertificateError") && why.contains("not valid for"), "{why}");
    assert_eq!(host.client().get("/v1/queues/fetched")?["messages"], 1);
    // And to a host that does not trust who signed it.
    let host = TestHost::start(&config)?;
    ask(&host, "stranger", "localhost")?;
    let why = log(&host, "stranger")?;
    assert!(why.contains("TlsCertificateError") && why.contains("no TLS with https://localhost"), "{why}");
    Ok(())
}

/// It takes connections and never says a word of TLS.
#[test]
fn a_connection_that_does_not_come_about_is_given_up() -> Result<()> {
    let server = SlowServer::start(Duration::ZERO)?;
    let at = format!("https://127.0.0.1:{}", server.port());
    let host =
        TestHost::start(&handler_with_queue("silent", "guest-fetch", &format!("grants = {{ http = [\"{at}\"] }}"))?)?;
    let started = Instant::now();
    host.client().post("/v1/topics/silent/messages", "text/plain", format!("GET {at}/"))?;
    host.client().wait_until_settled(PATIENCE)?;
    let records = quarantined(host.client(), "silent")?;
    let attempts = records.first().context("it is not in quarantine")?["attempts"].to_string();
    assert!(attempts.contains("took too long"), "{attempts}");
    let took = started.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_secs(25)).contains(&took), "CONNECT_MS_MAX is 10 s: {took:?}");
    Ok(())
}

#[test]
fn callbacks_go_over_tls_to_whoever_proves_who_it_is() -> Result<()> {
    let (port, heard) = serve()?;
    let allow = format!("[callbacks]\nallow = [\"https://localhost:{port}\", \"https://127.0.0.1:{port}\"]\n");
    let config = allow + &handler_with_queue("job", "guest-noop", "")?;
    let submit = |host: &TestHost, at: &str| -> Result<()> {
        let request = host.client().request(Method::POST, "/v1/jobs/job");
        let answer = request.header("wasmill-callback", format!("https://{at}:{port}/hook")).body("x").send()?;
        answer.error_for_status()?;
        Ok(())
    };
    let host = TestHost::start_with(&config, &[("SSL_CERT_FILE", &certificate("authority.pem"))])?;
    submit(&host, "localhost")?;
    host.client().wait_until_settled(PATIENCE)?;
    let requests = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let [request] = &requests[..] else { anyhow::bail!("one call: {requests:?}") };
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
    // The same server under a name that its certificate does not have is tried again later, and hears nothing.
    submit(&host, "127.0.0.1")?;
    let started = Instant::now();
    while host.client().get("/v1/queues/wasmill-callbacks/consumers/deliver")?["pending"] != 1 {
        anyhow::ensure!(started.elapsed() < PATIENCE, "it does not wait for another attempt");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(heard.lock().unwrap_or_else(PoisonError::into_inner).len(), 1);
    Ok(())
}
