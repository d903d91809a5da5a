//! From a target that is allowed to a connection with an address that is open.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::{net::TcpStream, sync::Semaphore};
use wasmill_delivery::grants::{Grants, HttpTarget, TargetHost};
use wasmtime_wasi_http::Error;

use super::{ADDRESSES_TRIED_MAX, LOOKUPS_MAX};

static LOOKUPS: Semaphore = Semaphore::const_new(LOOKUPS_MAX);

/// Why there is no connection, for the guest, and what the guest's log shall say about it.
pub(super) struct Refused {
    pub(super) error: Error,
    pub(super) why: Option<String>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, why: None }
    }
}

/// Connect to one of the addresses that are open.
pub(super) async fn connect(grants: &Grants, target: &HttpTarget) -> Result<TcpStream, Refused> {
    let found = addresses(target).await?;
    let open: Vec<IpAddr> = found.iter().copied().filter(|address| grants.open(target, *address)).collect();
    let Some(first) = found.first() else { return Err(Error::DestinationNotFound.into()) };
    if open.is_empty() {
        let why = format!(
            "{target} is at {first}, which is no address of the open internet; an operator can name it under \
             grants.addresses"
        );
        return Err(Refused { error: Error::HttpRequestDenied, why: Some(why) });
    }
    Ok(connect_to_one(&open, target.port).await?)
}

async fn connect_to_one(open: &[IpAddr], port: u16) -> Result<TcpStream, Error> {
    let mut last = Error::DestinationUnavailable;
    for address in open.iter().take(ADDRESSES_TRIED_MAX) {
        match TcpStream::connect(SocketAddr::new(*address, port)).await {
            Ok(stream) => {
                // What is sent is complete, and somebody waits for the answer.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = unreachable(error),
        }
    }
    Err(last)
}

async fn addresses(target: &HttpTarget) -> Result<Vec<IpAddr>, Error> {
    let name = match &target.host {
        TargetHost::Address(address) => return Ok(vec![*address]),
        TargetHost::Name(name) => name,
    };
    let _turn = LOOKUPS.acquire().await;
    let not_found = |error: io::Error| Error::DnsError { rcode: Some(error.to_string()), info_code: None };
    let found = tokio::net::lookup_host((name.as_str(), target.port)).await.map_err(not_found)?;
    Ok(found.map(|address| address.ip().to_canonical()).collect())
}

fn unreachable(error: io::Error) -> Error {
    const NO_WAY: [io::ErrorKind; 2] = [io::ErrorKind::HostUnreachable, io::ErrorKind::NetworkUnreachable];
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return Error::ConnectionRefused;
    }
    if NO_WAY.contains(&error.kind()) { Error::DestinationUnavailable } else { Error::Connect(error) }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use tokio::net::TcpListener;
    use wasmill_delivery::grants::HttpScheme;

    use super::*;

    #[tokio::test]
    async fn so_many_addresses_of_a_name_are_tried() {
        // Nobody listens on the addresses before it.
        let last = Ipv4Addr::new(127, 0, 77, 200);
        let listener = TcpListener::bind((last, 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut addresses: Vec<IpAddr> = (1..ADDRESSES_TRIED_MAX).map(silent).collect();
        addresses.push(last.into());
        assert!(connect_to_one(&addresses, port).await.is_ok(), "the last one of so many");
        addresses.insert(0, silent(100));
        let refused = connect_to_one(&addresses, port).await.expect_err("one too many");
        assert!(matches!(refused, Error::ConnectionRefused), "{refused:?}");
    }

    fn silent(number: usize) -> IpAddr {
        Ipv4Addr::new(127, 0, 77, u8::try_from(number).expect("a few")).into()
    }

    #[tokio::test]
    async fn so_many_names_are_looked_up_at_once() {
        let target = HttpTarget::new(HttpScheme::Http, "localhost", Some(80)).expect("a target");
        let busy = LOOKUPS.acquire_many(u32::try_from(LOOKUPS_MAX).expect("a few")).await.expect("it is never closed");
        let waits = tokio::time::timeout(Duration::from_millis(100), addresses(&target)).await;
        assert!(waits.is_err(), "it did not wait for its turn");
        drop(busy);
        assert!(!addresses(&target).await.expect("its turn").is_empty());
    }
}
