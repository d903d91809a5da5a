//! From a topic to the queues that bind it.
//!
//! A trie over the words of the patterns: what a lookup costs depends on the topic and on the bindings that
//! share its words, not on how many bindings there are.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    name::QueueId,
    topic::{Topic, TopicPattern},
};

/// All bindings of a host.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    root: Node,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Queues whose pattern ends here.
    queues: BTreeSet<QueueId>,
    words: BTreeMap<Box<str>, Node>,
    /// `*`: exactly one word.
    one: Option<Box<Node>>,
    /// `#`: any number of words, also none.
    many: Option<Box<Node>>,
}

impl Routes {
    /// No bindings.
    #[must_use]
    pub const fn new() -> Self {
        Self { root: Node { queues: BTreeSet::new(), words: BTreeMap::new(), one: None, many: None } }
    }

    /// Bind a queue to a pattern. Binding it twice is binding it once.
    pub fn bind(&mut self, pattern: &TopicPattern, queue: QueueId) {
        let mut node = &mut self.root;
        for word in pattern.words() {
            node = node.child_mut(word);
        }
        node.queues.insert(queue);
    }

    /// Take a binding away, and what only it needed.
    pub fn unbind(&mut self, pattern: &TopicPattern, queue: QueueId) {
        let words: Vec<&str> = pattern.words().collect();
        self.root.unbind(&words, queue);
    }

    /// The queues that bind the topic, each once, in ascending order.
    #[must_use]
    pub fn matching(&self, topic: &Topic) -> Vec<QueueId> {
        let words: Vec<&str> = topic.words().collect();
        let mut found = BTreeSet::new();
        self.root.collect(&words, &mut found);
        found.into_iter().collect()
    }
}

impl Node {
    fn child_mut(&mut self, word: &str) -> &mut Self {
        match word {
            "*" => self.one.get_or_insert_default(),
            "#" => self.many.get_or_insert_default(),
            word => self.words.entry(word.into()).or_default(),
        }
    }

    fn unbind(&mut self, words: &[&str], queue: QueueId) {
        let Some((word, rest)) = words.split_first() else {
            self.queues.remove(&queue);
            return;
        };
        match *word {
            "*" => prune(&mut self.one, rest, queue),
            "#" => prune(&mut self.many, rest, queue),
            word => {
                if let Some(child) = self.words.get_mut(word) {
                    child.unbind(rest, queue);
                    if child.is_bare() {
                        self.words.remove(word);
                    }
                }
            }
        }
    }

    fn is_bare(&self) -> bool {
        self.queues.is_empty() && self.words.is_empty() && self.one.is_none() && self.many.is_none()
    }

    fn collect(&self, words: &[&str], found: &mut BTreeSet<QueueId>) {
        if let Some(many) = &self.many {
            for skipped in 0..=words.len() {
                many.collect(&words[skipped..], found);
            }
        }
        let Some((word, rest)) = words.split_first() else {
            found.extend(&self.queues);
            return;
        };
        if let Some(child) = self.words.get(*word) {
            child.collect(rest, found);
        }
        if let Some(one) = &self.one {
            one.collect(rest, found);
        }
    }
}

fn prune(child: &mut Option<Box<Node>>, rest: &[&str], queue: QueueId) {
    if let Some(node) = child {
        node.unbind(rest, queue);
        if node.is_bare() {
            *child = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        let mut routes = Routes::default();
        let pattern = TopicPattern::new(pattern).expect("a pattern");
        routes.bind(&pattern, QueueId(1));
        let found = !routes.matching(&Topic::new(topic).expect("a topic")).is_empty();
        routes.unbind(&pattern, QueueId(1));
        assert!(routes.root.is_bare(), "unbind left something of {}", pattern.as_str());
        found
    }

    #[test]
    fn patterns_match_as_documented() {
        for (pattern, topic) in [
            ("a", "a"),
            ("a.b", "a.b"),
            ("*", "a"),
            ("a.*", "a.b"),
            ("*.b", "a.b"),
            ("#", "a"),
            ("#", "a.b.c"),
            ("a.#", "a"),
            ("a.#", "a.b.c"),
            ("#.c", "c"),
            ("#.c", "a.b.c"),
            ("a.#.c", "a.c"),
            ("a.#.c", "a.b.b.c"),
            ("#.#", "a"),
            ("*.#.*", "a.b"),
        ] {
            assert!(matches(pattern, topic), "{pattern} must take {topic}");
        }
        for (pattern, topic) in
            [("a", "b"), ("a", "a.b"), ("*", "a.b"), ("a.*", "a"), ("a.#", "b.a"), ("*.#.*", "a"), ("a.#.c", "a.b")]
        {
            assert!(!matches(pattern, topic), "{pattern} must not take {topic}");
        }
    }

    #[test]
    fn each_queue_is_found_once_and_alone_after_unbinding() {
        let mut routes = Routes::default();
        let pattern = |text: &str| TopicPattern::new(text).expect("a pattern");
        for text in ["a.b", "a.*", "#"] {
            routes.bind(&pattern(text), QueueId(1));
        }
        routes.bind(&pattern("a.b"), QueueId(2));
        let topic = Topic::new("a.b").expect("a topic");
        assert_eq!(routes.matching(&topic), [QueueId(1), QueueId(2)]);
        routes.unbind(&pattern("a.b"), QueueId(1));
        routes.unbind(&pattern("#"), QueueId(1));
        assert_eq!(routes.matching(&topic), [QueueId(1), QueueId(2)], "a.* still binds it");
        routes.unbind(&pattern("a.*"), QueueId(1));
        assert_eq!(routes.matching(&topic), [QueueId(2)]);
    }
}
