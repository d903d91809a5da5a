//! The frames of a stream, by hand: what a client of any language may get wrong, and what bounds it.

#![expect(clippy::wildcard_enum_match_arm, reason = "whatever is not expected fails the test")]

use std::time::Duration;

use futures::{SinkExt as _, Stream, StreamExt as _};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest as _,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use wasmill_server::http::HttpLimits;
use wasmill_wire::{
    ClientFrame, Delivery, Exception, HostFrame, MESSAGES_MAX, Outgoing, SUBPROTOCOL, SUBSCRIPTIONS_MAX, Settlement,
    decode, encode,
};

use super::harness::Server;

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn connect(server: &Server, protocol: &str) -> Result<Socket, Error> {
    let mut request = format!("{}/v1/stream", server.url().replace("http:", "ws:")).into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", protocol.parse().expect("a header"));
    Ok(connect_async(request).await?.0)
}

pub(super) async fn open(server: &Server) -> Socket {
    let mut socket = connect(server, SUBPROTOCOL).await.expect("a stream");
    match hear(&mut socket).await {
        HostFrame::Welcome { frame_bytes_max, data_bytes_max } => {
            assert!(frame_bytes_max > data_bytes_max && data_bytes_max == 1024 * 1024);
        }
        other => panic!("{other:?}"),
    }
    socket
}

pub(super) async fn say(socket: &mut Socket, frame: &ClientFrame) {
    socket.send(Message::Binary(encode(frame))).await.expect("it is sent");
}

pub(super) async fn hear(socket: &mut Socket) -> HostFrame {
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("an answer in time") {
            Some(Ok(Message::Binary(bytes))) => return decode(&bytes).expect("a frame"),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// How the host closed it, and what it said before.
pub(super) async fn end(
    mut socket: impl Stream<Item = Result<Message, Error>> + Unpin,
) -> (Vec<HostFrame>, Option<CloseFrame>) {
    let mut said = Vec::new();
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("an end in time") {
            Some(Ok(Message::Binary(bytes))) => said.push(decode(&bytes).expect("a frame")),
            Some(Ok(Message::Close(frame))) => return (said, frame),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return (said, None),
        }
    }
}

pub(super) fn publish(request: u64, count: usize) -> ClientFrame {
    let message = |n: usize| Outgoing { data: n.to_string().into(), ..Outgoing::default() };
    let (topic, content_type) = (Some("orders.x".to_owned()), Some("text/plain".to_owned()));
    let messages = (0..count).map(message).collect();
    ClientFrame::Publish { request, topic, content_type, messages, receipts: false }
}

pub(super) fn subscribe(subscription: u64) -> ClientFrame {
    let (queue, consumer) = ("orders".to_owned(), "outside".to_owned());
    ClientFrame::Subscribe { subscription, queue, consumer, credit: 10 }
}

pub(super) async fn with_consumer() -> Server {
    let server = Server::with_orders().await;
    server.put_json("/v1/queues/orders/consumers/outside", "{}").await.expect_status(201);
    server
}

pub(super) async fn deliveries(socket: &mut Socket) -> Vec<Delivery> {
    match hear(socket).await {
        HostFrame::Deliveries { deliveries, .. } => deliveries,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(super) fn refused(frame: HostFrame) -> (u64, String) {
    match frame {
        HostFrame::Refused { request, refusal } => (request, refusal.code),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stream_is_asked_for_by_name() {
    let server = Server::with_orders().await;
    server.get("/v1/stream").await.expect_problem(426, "not-a-websocket", "wasmill.v1.msgpack");
    match connect(&server, "wasmill.v9.msgpack").await {
        Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), 400),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn receipts_are_given_when_they_are_asked_for() {
    let server = Server::with_orders().await;
    let mut socket = open(&server).await;
    let mut frame = publish(7, 3);
    if let ClientFrame::Publish { receipts, messages, .. } = &mut frame {
        *receipts = true;
        messages[1].topic = Some("nowhere".to_owned());
        messages[2].id = Some("mine".to_owned());
    }
    say(&mut socket, &frame).await;
    let HostFrame::Published { request: 7, exceptions, receipts } = hear(&mut socket).await else { panic!() };
    assert!(matches!(&exceptions[..], [(1, Exception::Refused(refusal))] if refusal.code == "unroutable"));
    let places: Vec<_> = receipts.iter().map(|receipt| receipt.places.clone()).collect();
    assert_eq!(places, [vec![("orders".to_owned(), 1)], vec![], vec![("orders".to_owned(), 2)]]);
    assert_eq!((receipts[0].id.len(), receipts[1].id.as_str(), receipts[2].id.as_str()), (36, "", "mine"));
    let messages = server.orders().await;
    assert_eq!(messages[0]["content_type"], json!("text/plain"), "the frame's own");
    say(&mut socket, &publish(8, 0)).await;
    let nothing = HostFrame::Published { request: 8, exceptions: vec![], receipts: vec![] };
    assert_eq!(hear(&mut socket).await, nothing);
}

#[tokio::test]
async fn what_is_no_frame_ends_the_stream_and_says_why() {
    let server = Server::with_orders().await;
    for message in [Message::Binary(b"\xc1".as_slice().into()), Message::Text("hello".into())] {
        let mut socket = open(&server).await;
        say(&mut socket, &publish(1, 1)).await;
        socket.send(message).await.expect("it is sent");
        let (said, close) = end(socket).await;
        assert_eq!(close.map(|frame| frame.code), Some(CloseCode::Protocol));
        let published = HostFrame::Published { request: 1, exceptions: vec![], receipts: vec![] };
        assert!(said.contains(&published), "what came before is answered: {said:?}");
        let codes = said.into_iter().filter(|frame| *frame != published).map(refused);
        assert_eq!(codes.collect::<Vec<_>>(), [(0, "bad-frame".to_owned())]);
    }
    assert_eq!(server.orders().await.len(), 2);
}

#[tokio::test]
async fn a_frame_beyond_the_limit_is_not_read_and_its_client_is_told() {
    let server = Server::with_orders().await;
    let socket = open(&server).await;
    let mut frame = publish(1, 1);
    if let ClientFrame::Publish { messages, .. } = &mut frame {
        messages[0].data = vec![0; 5 * 1024 * 1024].into();
    }
    let (mut sink, stream) = socket.split();
    // The host may close it before all of it is sent.
    let sending = tokio::spawn(async move {
        let _ = sink.send(Message::Binary(encode(&frame))).await;
        sink
    });
    let (said, close) = end(stream).await;
    assert_eq!(said.into_iter().map(refused).collect::<Vec<_>>(), [(0, "too-large".to_owned())]);
    assert_eq!(close.map(|frame| frame.code), Some(CloseCode::Size));
    drop(sending.await);
    let mut socket = open(&server).await;
    say(&mut socket, &publish(2, 1)).await;
    assert!(matches!(hear(&mut socket).await, HostFrame::Published { .. }));
}

#[tokio::test]
async fn too_much_of_anything_is_refused_and_the_stream_goes_on() {
    let server = with_consumer().await;
    let mut socket = open(&server).await;
    say(&mut socket, &publish(1, MESSAGES_MAX + 1)).await;
    assert_eq!(refused(hear(&mut socket).await), (1, "too-many".to_owned()));
    say(&mut socket, &publish(2, MESSAGES_MAX)).await;
    assert!(matches!(hear(&mut socket).await, HostFrame::Published { request: 2, .. }));
    let settlements = |count| (0..count).map(|n| Settlement(n as u64, 1, None)).collect::<Vec<_>>();
    say(&mut socket, &ClientFrame::Settle { request: 3, subscription: 9, settlements: settlements(1) }).await;
    assert_eq!(refused(hear(&mut socket).await), (3, "unknown-subscription".to_owned()));
    say(&mut socket, &ClientFrame::Release { request: 4, subscription: 9 }).await;
    assert_eq!(refused(hear(&mut socket).await), (4, "unknown-subscription".to_owned()));
    let settle = ClientFrame::Settle { request: 5, subscription: 9, settlements: settlements(MESSAGES_MAX + 1) };
    say(&mut socket, &settle).await;
    assert_eq!(refused(hear(&mut socket).await), (5, "too-many".to_owned()));
    let leases = (0..=MESSAGES_MAX as u64).map(|n| (n, n)).collect();
    say(&mut socket, &ClientFrame::Extend { request: 6, subscription: 9, leases, lease_ms: None }).await;
    assert_eq!(refused(hear(&mut socket).await), (6, "too-many".to_owned()));
    // The queue holds a thousand messages, and the first to ask gets them; the others wait.
    for subscription in 100..100 + SUBSCRIPTIONS_MAX as u64 {
        say(&mut socket, &subscribe(subscription)).await;
    }
    say(&mut socket, &subscribe(100)).await;
    say(&mut socket, &subscribe(999)).await;
    let mut refusals = Vec::new();
    while refusals.len() < 2 {
        let frame = hear(&mut socket).await;
        if matches!(frame, HostFrame::Refused { .. }) {
            refusals.push(refused(frame));
        }
    }
    assert_eq!(refusals, [(100, "subscribed-before".to_owned()), (999, "too-many".to_owned())]);
}

#[tokio::test]
async fn a_program_that_is_gone_burns_an_attempt_at_once_and_one_that_leaves_does_not() {
    let server = with_consumer().await;
    let mut publisher = open(&server).await;
    say(&mut publisher, &publish(1, 3)).await;
    let mut attempts = Vec::new();
    for leave_in_good_order in [true, false, false, true] {
        let mut socket = open(&server).await;
        say(&mut socket, &subscribe(1)).await;
        let mut taken = Vec::new();
        while taken.len() < 3 {
            taken.extend(deliveries(&mut socket).await.iter().map(|delivery| delivery.attempt));
        }
        attempts.push(taken);
        if leave_in_good_order {
            socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).await.expect("closed");
            end(socket).await;
        }
        // Otherwise the connection just breaks. The lease is 30 s; nobody waits for that.
    }
    assert_eq!(attempts, [[1; 3], [1; 3], [2; 3], [3; 3]]);
}

#[tokio::test]
async fn as_many_streams_as_may_be() {
    let server = Server::start_with(HttpLimits { sockets_max: 2, ..HttpLimits::default() }, |_| {}).await;
    let first = open(&server).await;
    let second = open(&server).await;
    match connect(&server, SUBPROTOCOL).await {
        Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), 503),
        other => panic!("{other:?}"),
    }
    let counted = async || server.get("/metrics").await.expect_status(200).text;
    let text = counted().await;
    assert!(text.contains("wasmill_streams_open 2\n") && text.contains("wasmill_streams_refused_total 1\n"), "{text}");
    drop(first);
    let started = std::time::Instant::now();
    while connect(&server, SUBPROTOCOL).await.is_err() {
        assert!(started.elapsed() < PATIENCE, "a place is free again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(second);
    while !counted().await.contains("wasmill_streams_open 0\n") {
        assert!(started.elapsed() < PATIENCE, "streams that are gone are not counted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_is_gone() {
    let limits = HttpLimits { socket_idle_max: Duration::from_millis(300), ..HttpLimits::default() };
    let server = Server::start_with(limits, |_| {}).await;
    // One that is read answers pings, which the library does by itself.
    let mut alive = open(&server).await;
    let answering = async { tokio::time::timeout(Duration::from_secs(2), alive.next()).await };
    let silent = open(&server).await;
    let alive_for_long = async {
        let until = std::time::Instant::now() + Duration::from_secs(2);
        let mut socket = open(&server).await;
        while std::time::Instant::now() < until {
            let _ = tokio::time::timeout(Duration::from_millis(50), socket.next()).await;
        }
        say(&mut socket, &publish(1, 0)).await;
        loop {
            match socket.next().await {
                Some(Ok(Message::Binary(_))) => return true,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return false,
            }
        }
    };
    let (_, is_alive) = futures::future::join(answering, alive_for_long).await;
    assert!(is_alive, "who answers pings stays");
    // The answers to pings that are read only now may break the connection before the close is read.
    let (_, close) = end(silent).await;
    assert!(close.is_none_or(|frame| frame.code == CloseCode::Away), "who does not is gone");
}

#[tokio::test]
async fn a_stream_that_waits_for_room_is_answered_all_the_same() {
    // Room for one frame at a time, of all streams together.
    let limits = HttpLimits { frames_bytes_max: 20_000, ..HttpLimits::default() };
    let server = Server::start_with(limits, |_| {}).await;
    server.put_json("/v1/queues/orders", r#"{"bindings":["orders.#"]}"#).await.expect_status(201);
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let mut socket = open(&server).await;
        for request in 0..50 {
            say(&mut socket, &publish(request, 1_000)).await;
        }
        sockets.push(socket);
    }
    for socket in &mut sockets {
        let mut answered = std::collections::BTreeSet::new();
        while answered.len() < 50 {
            let HostFrame::Published { request, exceptions, .. } = hear(socket).await else { panic!() };
            assert_eq!(exceptions, []);
            answered.insert(request);
        }
    }
    let queue = server.get("/v1/queues/orders").await.expect_status(200).json();
    assert_eq!(queue["messages"], json!(200_000), "{queue}");
}
