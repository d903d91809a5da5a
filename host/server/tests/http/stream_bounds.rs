//! What a stream keeps to when it is driven hard: the order of its frames, its limits, and who may open it.

#![expect(clippy::wildcard_enum_match_arm, reason = "whatever is not expected fails the test")]

use std::time::{Duration, Instant};

use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest as _,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use wasmill_delivery::{
    name::{ConsumerName, QueueName},
    record::ConsumerConfig,
};
use wasmill_runtime::Draft;
use wasmill_server::http::HttpLimits;
use wasmill_wire::{ClientFrame, Exception, HostFrame, Outgoing, SUBPROTOCOL, SUBSCRIPTIONS_MAX, decode, encode};

use super::{
    harness::Server,
    stream_frames::{PATIENCE, deliveries, end, hear, open, publish, refused, say, subscribe, with_consumer},
};

/// Frames of one message each, far more than may be under way at once.
const FRAMES: u64 = 20_000;

#[tokio::test]
async fn messages_keep_the_order_of_their_frames() {
    let server = Server::with_orders().await;
    let (mut sink, mut stream) = open(&server).await.split();
    let sending = tokio::spawn(async move {
        for request in 0..FRAMES {
            let mut frame = publish(request, 1);
            if let ClientFrame::Publish { receipts, .. } = &mut frame {
                *receipts = true;
            }
            sink.feed(Message::Binary(encode(&frame))).await.expect("it is sent");
        }
        sink.flush().await.expect("all is sent");
        sink
    });
    let (mut answered, mut out_of_order) = (0, 0);
    while answered < FRAMES {
        match tokio::time::timeout(PATIENCE, stream.next()).await.expect("an answer in time") {
            Some(Ok(Message::Binary(bytes))) => {
                let HostFrame::Published { request, receipts, .. } = decode(&bytes).expect("a frame") else { panic!() };
                answered += 1;
                out_of_order += u64::from(receipts[0].places[0].1 != request + 1);
            }
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(out_of_order, 0, "of {FRAMES}");
    drop(sending.await);
}

/// It takes many times as long as a silent client has, and each frame comes in time.
#[tokio::test]
async fn a_client_that_reads_slowly_and_steadily_stays() {
    const FRAMES: usize = 40;
    let limits = HttpLimits { socket_idle_max: Duration::from_secs(2), ..HttpLimits::default() };
    let server = Server::start_with(limits, |_| {}).await;
    server.put_json("/v1/queues/orders", r#"{"bindings":["orders.#"]}"#).await.expect_status(201);
    let names = (QueueName::new("orders").expect("a name"), ConsumerName::new("outside").expect("a name"));
    let config = ConsumerConfig { in_flight_max: 100, ..ConsumerConfig::pulled() };
    server.host.put_consumer(names.0, names.1, config).await.expect("a consumer");
    for _ in 0..FRAMES {
        server.host.publish(Draft::new("orders.x", vec![0; 1_000_000])).await.expect("it is published");
    }
    let mut socket = open(&server).await;
    for subscription in 0..FRAMES as u64 {
        let (queue, consumer) = ("orders".to_owned(), "outside".to_owned());
        say(&mut socket, &ClientFrame::Subscribe { subscription, queue, consumer, credit: 1 }).await;
    }
    let started = Instant::now();
    for _ in 0..FRAMES {
        tokio::time::sleep(Duration::from_millis(160)).await;
        assert_eq!(deliveries(&mut socket).await.len(), 1);
    }
    assert!(started.elapsed() > limits.socket_idle_max * 3, "it was slow enough");
    say(&mut socket, &publish(1, 1)).await;
    assert!(matches!(hear(&mut socket).await, HostFrame::Published { request: 1, .. }));
}

/// Millions of empty messages in a frame of the largest size are counted, not kept.
#[tokio::test]
async fn a_frame_of_empty_messages_is_refused() {
    let server = Server::with_orders().await;
    let mut socket = open(&server).await;
    let count = 4_000_000_u32;
    let mut bytes = b"\x81\xa7publish\x82\xa7request\x01\xa8messages\xdd".to_vec();
    bytes.extend(count.to_be_bytes());
    bytes.resize(bytes.len() + count as usize, 0x80);
    socket.send(Message::Binary(bytes.into())).await.expect("it is sent");
    assert_eq!(refused(hear(&mut socket).await), (1, "too-many".to_owned()));
    let headers = (0..1_000).map(|n| (format!("h{n}"), String::new())).collect();
    let topic = Some("orders.x".to_owned());
    let message = Outgoing { topic: topic.clone(), headers, ..Outgoing::default() };
    let messages = vec![message];
    say(&mut socket, &ClientFrame::Publish { request: 2, topic, content_type: None, messages, receipts: false }).await;
    let HostFrame::Published { request: 2, exceptions, .. } = hear(&mut socket).await else { panic!() };
    assert!(matches!(&exceptions[..], [(0, Exception::Refused(_))]), "{exceptions:?}");
    say(&mut socket, &publish(3, 1)).await;
    assert!(matches!(hear(&mut socket).await, HostFrame::Published { request: 3, .. }));
}

/// A page of a browser may open a WebSocket to anywhere, and says where it comes from.
#[tokio::test]
async fn a_web_page_of_another_host_opens_no_stream() {
    let server = Server::with_orders().await;
    let authority = server.url().trim_start_matches("http://").to_owned();
    for (origin, expected) in [
        (format!("http://{authority}"), None),
        ("https://evil.example".to_owned(), Some(403)),
        (format!("http://{authority}.evil.example"), Some(403)),
        (format!("http://evil.example/{authority}"), Some(403)),
        ("http://127.0.0.1:1".to_owned(), Some(403)),
        ("null".to_owned(), Some(403)),
        (String::new(), Some(403)),
    ] {
        let mut request = format!("ws://{authority}/v1/stream").into_client_request().expect("a request");
        request.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL.parse().expect("a header"));
        request.headers_mut().insert("origin", origin.parse().expect("a header"));
        let refused = match connect_async(request).await {
            Ok(_) => None,
            Err(Error::Http(response)) => Some(response.status().as_u16()),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(refused, expected, "{origin}");
    }
}

#[tokio::test]
async fn a_subscription_that_has_ended_takes_no_place() {
    let server = with_consumer().await;
    let mut socket = open(&server).await;
    for subscription in 0..3 * SUBSCRIPTIONS_MAX as u64 {
        let (queue, consumer) = ("orders".to_owned(), "missing".to_owned());
        say(&mut socket, &ClientFrame::Subscribe { subscription, queue, consumer, credit: 1 }).await;
        match hear(&mut socket).await {
            HostFrame::Ended { subscription: ended, refusal } => {
                assert_eq!((ended, refusal.code.as_str()), (subscription, "unknown-consumer"));
            }
            other => panic!("{other:?}"),
        }
    }
    // The same name again, as it is free.
    say(&mut socket, &subscribe(0)).await;
    say(&mut socket, &publish(1, 1)).await;
    let frames = [hear(&mut socket).await, hear(&mut socket).await];
    assert!(frames.iter().any(|frame| matches!(frame, HostFrame::Deliveries { subscription: 0, .. })), "{frames:?}");
}

/// What a program gave back before its connection broke burns no attempt.
#[tokio::test]
async fn a_release_is_carried_out_though_nobody_hears_of_it() {
    let server = with_consumer().await;
    let mut publisher = open(&server).await;
    say(&mut publisher, &publish(1, 3)).await;
    hear(&mut publisher).await;
    for round in 0..10 {
        let mut socket = open(&server).await;
        say(&mut socket, &subscribe(1)).await;
        let mut taken = Vec::new();
        while taken.len() < 3 {
            taken.extend(deliveries(&mut socket).await);
        }
        assert!(taken.iter().all(|delivery| delivery.attempt == 1), "round {round}: {taken:?}");
        let release = ClientFrame::Release { request: 2, subscription: 1 };
        socket.feed(Message::Binary(encode(&release))).await.expect("it is sent");
        for request in 10..300 {
            socket.feed(Message::Binary(encode(&publish(request, 0)))).await.expect("it is sent");
        }
        socket.flush().await.expect("all is sent");
        // Whatever is answered now cannot be written.
    }
}

/// Whoever is told that the host stops has time to read it.
#[tokio::test]
async fn a_host_that_drains_says_so_and_closes() {
    let server = Server::with_orders().await;
    let mut socket = open(&server).await;
    say(&mut socket, &publish(1, 1)).await;
    hear(&mut socket).await;
    let (mut sink, stream) = socket.split();
    let sending = tokio::spawn(async move {
        // It goes on sending, which is not read any more.
        while sink.send(Message::Binary(encode(&publish(2, 10)))).await.is_ok() {}
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.draining.begin();
    let (said, close) = end(stream).await;
    assert!(said.iter().any(|frame| matches!(frame, HostFrame::Closing { .. })));
    let reason = "the host is shutting down".into();
    assert_eq!(close, Some(CloseFrame { code: CloseCode::Away, reason }));
    let answered = said.iter().filter(|frame| matches!(frame, HostFrame::Published { .. })).count() as u64;
    let queue = server.get("/v1/queues/orders").await.expect_status(200).json();
    assert_eq!(queue["messages"].as_u64(), Some(1 + answered * 10), "what is not answered is not there");
    drop(sending.await);
}
