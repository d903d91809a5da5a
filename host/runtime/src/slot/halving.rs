//! Which deliveries a handler of batches is called with, and with which again. It knows no deliveries, only their order.

use std::collections::VecDeque;

/// Calls that are to be made, in order.
pub(super) struct Calls<T> {
    calls: VecDeque<Vec<T>>,
}

/// How large a call may be.
#[derive(Clone, Copy)]
pub(super) struct CallMax {
    /// Items of one call.
    pub(super) items: usize,
    /// Their sizes together, in bytes; one item may be larger.
    pub(super) bytes: usize,
}

impl<T> Calls<T> {
    /// Cut a run in calls, as few as its order lets be. `alone` says of an item that it must be the only one of its call.
    pub(super) fn new(
        items: impl IntoIterator<Item = T>,
        max: CallMax,
        bytes: impl Fn(&T) -> usize,
        alone: impl Fn(&T) -> bool,
    ) -> Self {
        let mut calls: VecDeque<Vec<T>> = VecDeque::new();
        let (mut call, mut call_bytes) = (Vec::new(), 0);
        for item in items {
            let (size, by_itself) = (bytes(&item), alone(&item));
            let is_full = call.len() >= max.items || call_bytes + size > max.bytes;
            if !call.is_empty() && (is_full || by_itself) {
                calls.push_back(std::mem::take(&mut call));
                call_bytes = 0;
            }
            call.push(item);
            call_bytes += size;
            if by_itself {
                calls.push_back(std::mem::take(&mut call));
                call_bytes = 0;
            }
        }
        if !call.is_empty() {
            calls.push_back(call);
        }
        Self { calls }
    }

    /// The next call to make.
    pub(super) fn next(&mut self) -> Option<Vec<T>> {
        self.calls.pop_front()
    }

    /// A call ended without an answer: make it again in two halves, before anything else. Gives back an item that was alone.
    pub(super) fn halve(&mut self, mut call: Vec<T>) -> Option<T> {
        if call.len() < 2 {
            return call.pop();
        }
        let second = call.split_off(call.len().div_ceil(2));
        self.calls.push_front(second);
        self.calls.push_front(call);
        None
    }

    /// Make a call with these next.
    pub(super) fn again(&mut self, call: Vec<T>) {
        if !call.is_empty() {
            self.calls.push_front(call);
        }
    }

    /// All that was not called.
    pub(super) fn into_rest(self) -> impl Iterator<Item = T> {
        self.calls.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: CallMax = CallMax { items: 100, bytes: 1_000_000 };

    /// Runs a handler that traps on these; answers what committed, in order, what was to blame, and the number of calls.
    fn run(items: u32, pills: &[u32]) -> (Vec<u32>, Vec<u32>, usize) {
        let mut calls = Calls::new(0..items, MAX, |_| 1, |_| false);
        let (mut committed, mut blamed, mut made) = (Vec::new(), Vec::new(), 0);
        while let Some(call) = calls.next() {
            made += 1;
            if call.iter().any(|item| pills.contains(item)) {
                blamed.extend(calls.halve(call));
            } else {
                committed.extend(call);
            }
        }
        (committed, blamed, made)
    }

    #[test]
    fn only_pills_are_blamed_and_all_others_commit_once_in_order() {
        for pills in [&[][..], &[0], &[99], &[5, 6, 250], &[0, 1, 2, 3], &[299]] {
            let (committed, blamed, made) = run(300, pills);
            let innocents: Vec<u32> = (0..300).filter(|item| !pills.contains(item)).collect();
            assert_eq!((committed, &blamed[..]), (innocents, pills));
            // A pill among a hundred is found by halving seven times, two calls each.
            assert!(made <= 3 + pills.len() * 14, "{made} calls for {} pills", pills.len());
        }
        let everything: Vec<u32> = (0..100).collect();
        assert_eq!(run(100, &everything), (Vec::new(), everything, 199));
    }

    #[test]
    fn calls_are_cut_by_number_and_size_and_around_what_must_be_alone() {
        let cut = |sizes: &[usize], items, bytes, alone: &[usize]| {
            let max = CallMax { items, bytes };
            let mut calls = Calls::new(0..sizes.len(), max, |item| sizes[*item], |item| alone.contains(item));
            std::iter::from_fn(|| calls.next()).collect::<Vec<_>>()
        };
        assert_eq!(cut(&[1; 5], 2, 100, &[]), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(cut(&[4, 4, 4, 9, 1], 100, 8, &[]), [vec![0, 1], vec![2], vec![3], vec![4]]);
        assert_eq!(cut(&[1; 5], 100, 100, &[0, 3]), [vec![0], vec![1, 2], vec![3], vec![4]]);
        assert!(cut(&[], 100, 100, &[]).is_empty());
    }

    #[test]
    fn what_is_called_again_comes_before_the_rest() {
        let mut calls = Calls::new(0..4, CallMax { items: 2, bytes: 100 }, |_| 1, |_| false);
        let first = calls.next();
        assert_eq!(first, Some(vec![0, 1]));
        calls.again(vec![1]);
        calls.again(Vec::new());
        assert_eq!(calls.next(), Some(vec![1]));
        assert_eq!(calls.into_rest().collect::<Vec<_>>(), [2, 3]);
    }
}
