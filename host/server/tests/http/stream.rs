//! Publishing and taking deliveries over a stream, by the Rust client.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use serde_json::json;
use wasmill_client::{Client, Delivery, Error, Failure, Outgoing, Subscription};
use wasmill_delivery::{
    name::{ConsumerName, QueueName},
    policy::Backoff,
    record::{ConsumerConfig, DeliveryOrder},
};

use super::harness::Server;

const CONSUMER: &str = "/v1/queues/orders/consumers/outside";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

async fn with_consumer(change: impl FnOnce(&mut ConsumerConfig)) -> (Server, Client) {
    let server = Server::with_orders().await;
    let mut config = ConsumerConfig::pulled();
    config.backoff = Backoff::Fixed { fixed_ms: 0, jitter: false };
    change(&mut config);
    let names = (QueueName::new("orders").expect("a name"), ConsumerName::new("outside").expect("a name"));
    server.host.put_consumer(names.0, names.1, config).await.expect("a consumer");
    let client = connect(&server).await;
    (server, client)
}

async fn connect(server: &Server) -> Client {
    Client::connect(server.url()).await.expect("a stream")
}

async fn publish(client: &Client, count: usize) {
    let published: FuturesUnordered<_> =
        (0..count).map(|n| client.publish(Outgoing::new("orders.x", n.to_string()))).collect();
    assert_eq!(published.filter(|answer| std::future::ready(answer.is_ok())).count().await, count);
}

async fn next(subscription: &mut Subscription) -> Vec<Delivery> {
    tokio::time::timeout(PATIENCE, subscription.next()).await.expect("deliveries in time").expect("deliveries")
}

/// Take so many, whatever they come in.
async fn take(subscription: &mut Subscription, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(next(subscription).await);
    }
    assert_eq!(taken.len(), count, "no more than there are");
    taken
}

/// Nothing comes for a while.
async fn nothing(subscription: &mut Subscription) {
    let more = tokio::time::timeout(Duration::from_millis(300), subscription.next()).await;
    assert!(more.is_err(), "{more:?}");
}

fn text(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.data).expect("text")
}

#[track_caller]
fn code<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    match answer {
        Err(Error::Refused(refusal)) => refusal.code,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn messages_keep_the_order_of_the_calls_however_many_wait() {
    let (server, client) = with_consumer(|config| config.in_flight_max = 5_000).await;
    publish(&client, 5_000).await;
    let mut subscription = client.subscribe("orders", "outside", 10_000).await.expect("a subscription");
    let taken = take(&mut subscription, 5_000).await;
    for (index, delivery) in taken.iter().enumerate() {
        assert_eq!((delivery.sequence, text(delivery)), (index as u64 + 1, index.to_string().as_str()));
    }
    subscription.ack(&taken).await.expect("they are settled");
    let view = server.get(CONSUMER).await.expect_status(200).json();
    assert_eq!((&view["floor"], &view["in_flight"]), (&json!(5_001), &json!(0)), "{view}");
}

#[tokio::test]
async fn messages_that_are_published_together_are_answered_one_by_one() {
    let (_server, client) = with_consumer(|config| config.in_flight_max = 5_000).await;
    // More than one frame, of two topics, one of which nothing binds and one of which is none, and one message twice.
    let message = |n: usize| match n {
        5 => Outgoing::new("no one", "spaces"),
        7 | 1_500 => Outgoing::new("orders.once", n.to_string()).id("once"),
        n => Outgoing::new("orders.x", n.to_string()).content_type("text/plain"),
    };
    let single = client.publish(Outgoing::new("orders.x", "before"));
    let answers = client.publish_all((0..2_500).map(message).collect());
    let after = client.publish(Outgoing::new("orders.x", "after"));
    let (single, answers, after) = tokio::join!(single, answers, after);
    assert!(single.is_ok() && after.is_ok());
    assert_eq!(answers.len(), 2_500);
    for (n, answer) in answers.into_iter().enumerate() {
        match n {
            5 => assert_eq!(code(answer), "invalid-topic"),
            n => assert_eq!(answer.expect("it is durable").duplicate, n == 1_500, "{n}"),
        }
    }
    assert_eq!(client.publish_all(Vec::new()).await, []);
    let mut subscription = client.subscribe("orders", "outside", 10_000).await.expect("a subscription");
    let taken = take(&mut subscription, 2_500).await;
    let sent = (0..2_500).filter(|n| ![5, 1_500].contains(n)).map(|n| n.to_string());
    let sent: Vec<String> =
        std::iter::once("before".to_owned()).chain(sent).chain(std::iter::once("after".to_owned())).collect();
    assert!(taken.iter().map(text).eq(sent.iter().map(String::as_str)), "they are in order");
    let (seventh, eighth) = (&taken[7], &taken[8]);
    assert_eq!((text(seventh), seventh.topic.as_str(), &seventh.content_type), ("7", "orders.once", &None));
    assert_eq!((eighth.topic.as_str(), eighth.content_type.as_deref()), ("orders.x", Some("text/plain")));
}

#[tokio::test]
async fn a_message_arrives_with_everything_it_was_given() {
    let (_server, client) = with_consumer(|_| {}).await;
    let message = Outgoing::new("orders.eu", vec![0, 159, 255])
        .id("17")
        .key("ключ")
        .content_type("application/octet-stream")
        .header("A", "1")
        .header("b", "ü");
    client.publish(message).await.expect("it is published");
    client.publish(Outgoing::to_queue("orders", "")).await.expect("it is published");
    let mut subscription = client.subscribe("orders", "outside", 10).await.expect("a subscription");
    let taken = take(&mut subscription, 2).await;
    let first = &taken[0];
    assert_eq!((first.id.as_str(), first.topic.as_str(), first.attempt), ("17", "orders.eu", 1));
    assert_eq!((first.key.as_deref(), &first.data[..]), (Some("ключ"), &[0, 159, 255][..]));
    assert_eq!(first.content_type.as_deref(), Some("application/octet-stream"));
    assert_eq!(first.headers, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "ü".to_owned())]);
    assert!(first.published_at_ms > 1_700_000_000_000 && first.lease_until_ms > first.published_at_ms);
    let second = &taken[1];
    assert_eq!((second.topic.as_str(), &second.key, second.data.len()), ("orders", &None, 0));
}

#[tokio::test]
async fn a_call_outlives_the_client_that_it_was_made_by() {
    let (server, client) = with_consumer(|_| {}).await;
    let answers: Vec<_> = (0..100).map(|_| client.publish(Outgoing::new("orders.x", ""))).collect();
    drop(client);
    for answer in futures::future::join_all(answers).await {
        answer.expect("it is published");
    }
    let queue = server.get("/v1/queues/orders").await.expect_status(200).json();
    assert_eq!(queue["messages"], json!(100), "{queue}");
}

#[tokio::test]
async fn each_message_is_answered_for_itself() {
    let (_server, client) = with_consumer(|_| {}).await;
    let large = vec![0; 1024 * 1024 + 1];
    let answers = [
        client.publish(Outgoing::new("orders.x", "a").id("1")),
        client.publish(Outgoing::new("nowhere", "b")),
        client.publish(Outgoing::new("orders..x", "c")),
        client.publish(Outgoing::new("orders.x", "a").id("1")),
        client.publish(Outgoing::new("orders.x", large)),
        client.publish(Outgoing::to_queue("missing", "d")),
        client.publish(Outgoing::new("orders.x", "e")),
    ];
    let [first, unroutable, invalid, again, large, missing, last] =
        <[_; 7]>::try_from(futures::future::join_all(answers).await).expect("seven answers");
    assert_eq!(first.map(|published| published.duplicate), Ok(false));
    assert_eq!(code(unroutable), "unroutable");
    assert_eq!(code(invalid), "invalid-topic");
    assert_eq!(again.map(|published| published.duplicate), Ok(true));
    assert_eq!(code(large), "too-large");
    assert_eq!(code(missing), "unknown-queue");
    assert_eq!(last.map(|published| published.duplicate), Ok(false));
    let huge = client.publish(Outgoing::new("orders.x", vec![0; 6 * 1024 * 1024])).await;
    assert!(matches!(huge, Err(Error::TooLarge { .. })), "a frame that the host does not read is not sent: {huge:?}");
    publish(&client, 1).await;
}

#[tokio::test]
async fn delays_and_expiries_are_kept() {
    let (server, client) = with_consumer(|_| {}).await;
    let late = Outgoing::new("orders.late", "late").delay(Duration::from_millis(600));
    client.publish(late).await.expect("it is published");
    client.publish(Outgoing::new("orders.x", "soon").expires_after(Duration::from_millis(1))).await.expect("published");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut subscription = client.subscribe("orders", "outside", 10).await.expect("a subscription");
    nothing(&mut subscription).await;
    let delivery = take(&mut subscription, 1).await.remove(0);
    assert_eq!(text(&delivery), "late", "the other one has expired");
    assert_eq!(server.get("/v1/delayed").await.expect_status(200).json()["delayed"], json!([]));
}

#[tokio::test]
async fn no_more_is_out_than_there_is_credit() {
    let (_server, client) = with_consumer(|_| {}).await;
    publish(&client, 25).await;
    let mut subscription = client.subscribe("orders", "outside", 10).await.expect("a subscription");
    let first = take(&mut subscription, 10).await;
    nothing(&mut subscription).await;
    subscription.ack(&first[..4]).await.expect("they are settled");
    let more = take(&mut subscription, 4).await;
    nothing(&mut subscription).await;
    subscription.ack(&first[4..]).await.expect("they are settled");
    subscription.ack(&more).await.expect("they are settled");
    let rest = take(&mut subscription, 10).await;
    subscription.ack(&rest).await.expect("they are settled");
    assert_eq!(text(&take(&mut subscription, 1).await[0]), "24");
}

#[tokio::test]
async fn every_way_to_settle() {
    let (server, client) = with_consumer(|_| {}).await;
    publish(&client, 4).await;
    let mut subscription = client.subscribe("orders", "outside", 10).await.expect("a subscription");
    let taken = take(&mut subscription, 4).await;
    subscription.ack(&taken[..1]).await.expect("done");
    let nack = Failure::Nack { after_ms: None, reason: "not yet".to_owned() };
    subscription.fail(&taken[1], nack).await.expect("again");
    subscription.fail(&taken[2], Failure::Defer { after_ms: 1 }).await.expect("later");
    subscription.fail(&taken[3], Failure::Reject { reason: "never".to_owned() }).await.expect("quarantined");
    let again = take(&mut subscription, 2).await;
    let attempts: BTreeMap<&str, u32> = again.iter().map(|delivery| (text(delivery), delivery.attempt)).collect();
    assert_eq!(attempts, BTreeMap::from([("1", 2), ("2", 1)]), "a nack burns an attempt, a defer does not");
    let quarantined = server.get("/v1/quarantine").await.expect_status(200).json();
    assert_eq!(quarantined["quarantined"].as_array().map(Vec::len), Some(1), "{quarantined}");
    assert_eq!(code(subscription.ack(&taken[..1]).await), "stale-fence");
    assert_eq!(code(subscription.fail(&again[0], Failure::Defer { after_ms: u64::MAX }).await), "out-of-range");
    subscription.ack(&again).await.expect("what was refused as a whole is as it was");
}

#[tokio::test]
async fn a_lease_that_ends_gives_its_credit_back_and_one_that_is_extended_does_not() {
    let (_server, client) = with_consumer(|config| config.lease_ms = 400).await;
    publish(&client, 2).await;
    let mut subscription = client.subscribe("orders", "outside", 2).await.expect("a subscription");
    let taken = take(&mut subscription, 2).await;
    subscription.extend(&taken[1..], Duration::from_secs(60)).await.expect("it is held");
    let again = take(&mut subscription, 1).await.remove(0);
    assert_eq!((text(&again), again.attempt), ("0", 2));
    assert_eq!(code(subscription.extend(&taken[..1], Duration::from_secs(60)).await), "stale-fence");
    subscription.ack(&taken[1..]).await.expect("it is still held");
}

#[tokio::test]
async fn what_is_not_settled_goes_back_when_a_program_leaves_in_good_order() {
    let (_server, client) = with_consumer(|config| config.order = DeliveryOrder::Key).await;
    publish(&client, 3).await;
    let mut subscription = client.subscribe("orders", "outside", 10).await.expect("a subscription");
    let taken = take(&mut subscription, 3).await;
    drop(subscription);
    let mut second = client.subscribe("orders", "outside", 10).await.expect("a subscription");
    let again = take(&mut second, 3).await;
    assert!(again.iter().all(|delivery| delivery.attempt == 1), "no attempt is burned: {again:?}");
    assert_eq!(code(second.ack(&taken).await), "stale-fence");
    client.clone().close().await;
    assert_eq!(second.next().await, None);
    assert!(matches!(client.publish(Outgoing::new("orders.x", "")).await, Err(Error::Disconnected { .. })));
}

#[tokio::test]
async fn subscriptions_that_cannot_be_say_why() {
    let (server, client) = with_consumer(|_| {}).await;
    for (queue, consumer, credit, expected) in [
        ("missing", "outside", 1, "unknown-queue"),
        ("orders", "missing", 1, "unknown-consumer"),
        ("or ders", "outside", 1, "invalid-queue-name"),
        ("orders", "outside", 0, "out-of-range"),
        ("orders", "outside", 10_001, "out-of-range"),
    ] {
        let mut subscription = client.subscribe(queue, consumer, credit).await.expect("a stream");
        assert_eq!(subscription.next().await, None);
        assert_eq!(subscription.ended().map(|refusal| refusal.code.as_str()), Some(expected));
    }
    let mut subscription = client.subscribe("orders", "outside", 1).await.expect("a subscription");
    server.delete(CONSUMER).await.expect_status(204);
    assert_eq!(subscription.next().await, None, "its consumer is removed");
    assert_eq!(subscription.ended().map(|refusal| refusal.code.as_str()), Some("unknown-consumer"));
    publish(&client, 1).await;
}

#[tokio::test]
async fn a_host_that_drains_answers_what_is_under_way_and_closes() {
    let (server, client) = with_consumer(|_| {}).await;
    let mut subscription = client.subscribe("orders", "outside", 1).await.expect("a subscription");
    let publishing: FuturesUnordered<_> =
        (0..2_000).map(|n| client.publish(Outgoing::new("orders.x", n.to_string()))).collect();
    server.draining.begin();
    let answers: Vec<_> = publishing.collect().await;
    let published = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(Error::Disconnected { .. }))), "{answers:?}");
    let page = server.get("/v1/queues/orders").await.expect_status(200).json();
    assert!(page["messages"].as_u64() >= Some(published as u64), "{published} were answered: {page}");
    while let Some(deliveries) = tokio::time::timeout(PATIENCE, subscription.next()).await.expect("an end") {
        assert_eq!(deliveries.len(), 1);
    }
}
