//! Another order of trying what was leased together, for tests.

use std::{collections::BTreeMap, sync::Arc};

use wasmill_delivery::{name::KeyHash, record::DeliveryOrder};
use wasmill_sandbox::Simulation;

/// Draws orders.
#[derive(Clone)]
pub(crate) struct Shuffle {
    pub(crate) simulation: Arc<Simulation>,
    /// What the consumer's order forbids is not done.
    pub(crate) order: DeliveryOrder,
}

impl Shuffle {
    /// Put these into another order, but those of one key that are ordered by it.
    pub(crate) fn shuffle<T>(&self, items: Vec<T>, key: impl Fn(&T) -> Option<KeyHash>) -> Vec<T> {
        let group = |item: &T| self.order.group(key(item));
        shuffled(items, group, |below| self.simulation.draw_below(below))
    }
}

fn shuffled<T>(items: Vec<T>, group: impl Fn(&T) -> Option<KeyHash>, mut draw: impl FnMut(usize) -> usize) -> Vec<T> {
    let groups: Vec<Option<KeyHash>> = items.iter().map(group).collect();
    let mut order: Vec<usize> = (0..items.len()).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, draw(last + 1));
    }
    // Each group keeps the places that it drew, and takes them in its own order.
    let mut places: BTreeMap<KeyHash, Vec<usize>> = BTreeMap::new();
    for (place, item) in order.iter().enumerate() {
        if let Some(group) = groups[*item] {
            places.entry(group).or_default().push(place);
        }
    }
    for places in places.values() {
        let mut members: Vec<usize> = places.iter().map(|place| order[*place]).collect();
        members.sort_unstable();
        for (place, member) in places.iter().zip(members) {
            order[*place] = member;
        }
    }
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    order.into_iter().filter_map(|item| items[item].take()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_orders_are_drawn_but_those_that_a_key_forbids() {
        let mut seed = 1_u64;
        let mut draw = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).expect("31 bits") % below
        };
        let all = |group: fn(&u32) -> Option<KeyHash>, draw: &mut dyn FnMut(usize) -> usize| {
            (0..1_000).map(|_| shuffled(vec![0, 1, 2, 3], group, &mut *draw)).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(all(|_| None, &mut draw).len(), 24);
        assert_eq!(all(|_| Some(KeyHash(0)), &mut draw).len(), 1);
        let of_pairs = all(|item| (*item < 2).then_some(KeyHash(7)), &mut draw);
        assert_eq!(of_pairs.len(), 12, "0 comes before 1 in half of all orders");
    }
}
