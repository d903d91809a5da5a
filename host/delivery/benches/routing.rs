//! What it costs to find the queues of a topic, with few and with many bindings that do not match.
//!
//! `cargo bench -p wasmill-delivery --bench routing`: the time must not grow with the number of bindings.

use criterion::{Criterion, criterion_group, criterion_main};
use wasmill_delivery::{
    name::QueueId,
    routing::Routes,
    topic::{Topic, TopicPattern},
};

/// Bindings of every kind that do not take the topic, and three that do.
fn routes(strangers: u32) -> Routes {
    let mut routes = Routes::new();
    let mut bind = |pattern: &str, queue: u32| {
        routes.bind(&TopicPattern::new(pattern).expect("a pattern").into(), QueueId(queue));
    };
    for number in 0..strangers {
        match number % 4 {
            0 => bind(&format!("tenants.t{number}.orders.created"), number),
            1 => bind(&format!("tenants.t{number}.#"), number),
            2 => bind(&format!("tenants.*.kind{number}.created"), number),
            _ => bind(&format!("other{number}.*.created"), number),
        }
    }
    bind("tenants.t7.orders.created", 1_000_000);
    bind("tenants.*.orders.*", 1_000_001);
    bind("#.created", 1_000_002);
    routes
}

fn routing(c: &mut Criterion) {
    let topic = Topic::new("tenants.t7.orders.created").expect("a topic");
    let mut group = c.benchmark_group("routing");
    for strangers in [0, 100, 10_000] {
        let routes = routes(strangers);
        assert_eq!(routes.matching(&topic).queues.len(), 3, "only those that match are found");
        group.bench_function(format!("{strangers} bindings that do not match"), |bencher| {
            bencher.iter(|| routes.matching(&topic));
        });
    }
    group.finish();
}

criterion_group!(benches, routing);
criterion_main!(benches);
