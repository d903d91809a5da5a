//! From a topic to the queues that bind it.
//!
//! A trie over the words of the patterns: what a lookup costs depends on the topic and on the bindings that
//! share its words, not on how many bindings there are.

use std::{
    collections::{BTreeSet, HashMap},
    rc::Rc,
};

use crate::{
    fnv::FixedState, message::Message, name::QueueId, queue_config::HeaderMatch, record::Binding, topic::Topic,
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
    /// Queues whose pattern ends here and that ask for headers besides; the same one may be there several times.
    by_headers: Vec<(QueueId, HeaderMatch)>,
    /// Looked up, never listed, so that what it costs does not grow; with fixed keys, so that nothing here is random.
    words: HashMap<Box<str>, Node, FixedState>,
    /// `*`: exactly one word.
    one: Option<Box<Node>>,
    /// `#`: any number of words, also none.
    many: Option<Box<Node>>,
}

impl Routes {
    /// No bindings.
    #[must_use]
    pub const fn new() -> Self {
        let words = HashMap::with_hasher(FixedState::new());
        Self { root: Node { queues: BTreeSet::new(), by_headers: Vec::new(), words, one: None, many: None } }
    }

    /// Bind a queue. Binding it twice is binding it once.
    pub fn bind(&mut self, binding: &Binding, queue: QueueId) {
        let mut node = &mut self.root;
        for word in binding.topic.words() {
            node = node.child_mut(word);
        }
        match &binding.headers {
            None => drop(node.queues.insert(queue)),
            Some(headers) => node.by_headers.push((queue, headers.clone())),
        }
    }

    /// Take a binding away, and what only it needed.
    pub fn unbind(&mut self, binding: &Binding, queue: QueueId) {
        let words: Vec<&str> = binding.topic.words().collect();
        self.root.unbind(&words, queue, binding.headers.as_ref());
    }

    /// Where messages of the topic go.
    #[must_use]
    pub fn matching(&self, topic: &Topic) -> Route {
        let words: Vec<&str> = topic.words().collect();
        let mut found = Found::default();
        if topic.is_reserved() {
            // As in MQTT, whoever wants the host's own topics says so: a wildcard in front does not stand for them.
            if let Some(node) = self.root.words.get(words[0]) {
                node.collect(&words[1..], &mut found);
            }
        } else {
            self.root.collect(&words, &mut found);
        }
        let Found { queues, mut by_headers } = found;
        by_headers.retain(|(queue, _)| !queues.contains(queue));
        Route { queues: queues.into_iter().collect(), by_headers }
    }
}

/// Where messages of one topic go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Queues that take each of them, in ascending order.
    pub queues: Rc<[QueueId]>,
    /// Further queues that take those with certain headers.
    by_headers: Vec<(QueueId, HeaderMatch)>,
}

impl Route {
    /// The queues that take this message of the topic, each once, in ascending order.
    #[must_use]
    pub fn of(&self, message: &Message) -> Rc<[QueueId]> {
        if self.by_headers.is_empty() {
            return Rc::clone(&self.queues);
        }
        let by_headers = self.by_headers.iter().filter(|(_, wanted)| wanted.takes(message)).map(|(queue, _)| *queue);
        let all: BTreeSet<QueueId> = self.queues.iter().copied().chain(by_headers).collect();
        all.into_iter().collect()
    }
}

#[derive(Default)]
struct Found {
    queues: BTreeSet<QueueId>,
    by_headers: Vec<(QueueId, HeaderMatch)>,
}

impl Node {
    fn child_mut(&mut self, word: &str) -> &mut Self {
        match word {
            "*" => self.one.get_or_insert_default(),
            "#" => self.many.get_or_insert_default(),
            word => self.words.entry(word.into()).or_default(),
        }
    }

    fn unbind(&mut self, words: &[&str], queue: QueueId, headers: Option<&HeaderMatch>) {
        let Some((word, rest)) = words.split_first() else {
            match headers {
                None => drop(self.queues.remove(&queue)),
                Some(headers) => self.by_headers.retain(|(bound, wanted)| *bound != queue || wanted != headers),
            }
            return;
        };
        match *word {
            "*" => prune(&mut self.one, rest, queue, headers),
            "#" => prune(&mut self.many, rest, queue, headers),
            word => {
                if let Some(child) = self.words.get_mut(word) {
                    child.unbind(rest, queue, headers);
                    if child.is_bare() {
                        self.words.remove(word);
                    }
                }
            }
        }
    }

    fn is_bare(&self) -> bool {
        self.queues.is_empty()
            && self.by_headers.is_empty()
            && self.words.is_empty()
            && self.one.is_none()
            && self.many.is_none()
    }

    fn collect(&self, words: &[&str], found: &mut Found) {
        if let Some(many) = &self.many {
            for skipped in 0..=words.len() {
                many.collect(&words[skipped..], found);
            }
        }
        let Some((word, rest)) = words.split_first() else {
            found.queues.extend(&self.queues);
            found.by_headers.extend(self.by_headers.iter().cloned());
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

fn prune(child: &mut Option<Box<Node>>, rest: &[&str], queue: QueueId, headers: Option<&HeaderMatch>) {
    if let Some(node) = child {
        node.unbind(rest, queue, headers);
        if node.is_bare() {
            *child = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{message::Lineage, name::MessageId, queue_config::MatchMode, time::Timestamp, topic::TopicPattern};

    fn binding(pattern: &str) -> Binding {
        TopicPattern::new(pattern).expect("a pattern").into()
    }

    fn matches(pattern: &str, topic: &str) -> bool {
        let mut routes = Routes::default();
        routes.bind(&binding(pattern), QueueId(1));
        let found = !routes.matching(&Topic::new(topic).expect("a topic")).queues.is_empty();
        routes.unbind(&binding(pattern), QueueId(1));
        assert!(routes.root.is_bare(), "unbind left something of {pattern}");
        found
    }

    fn by_headers(pattern: &str, mode: MatchMode, headers: &[(&str, &str)]) -> Binding {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Binding { headers: Some(HeaderMatch { mode, headers }), ..binding(pattern) }
    }

    fn message(headers: &[(&str, &str)]) -> Message {
        Message {
            id: MessageId::new("m").expect("an id"),
            topic: Topic::new("a.b").expect("a topic"),
            key: None,
            content_type: None,
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            data: Bytes::new(),
            published_at: Timestamp(0),
            expires_at: None,
            lineage: Lineage::default(),
        }
    }

    #[test]
    fn headers_choose_among_the_bindings_of_a_topic() {
        let mut routes = Routes::default();
        let all = by_headers("a.*", MatchMode::All, &[("region", "eu"), ("tier", "1")]);
        let any = by_headers("a.#", MatchMode::Any, &[("region", "eu"), ("tier", "1")]);
        routes.bind(&all, QueueId(1));
        routes.bind(&any, QueueId(2));
        routes.bind(&binding("a.b"), QueueId(3));
        let to = |routes: &Routes, headers: &[(&str, &str)]| {
            let message = message(headers);
            routes.matching(&message.topic).of(&message).iter().map(|queue| queue.0).collect::<Vec<_>>()
        };
        assert_eq!(to(&routes, &[]), [3]);
        assert_eq!(to(&routes, &[("tier", "1")]), [2, 3]);
        assert_eq!(to(&routes, &[("tier", "2"), ("tier", "1"), ("region", "eu")]), [1, 2, 3]);
        routes.bind(&binding("#"), QueueId(1));
        assert_eq!(to(&routes, &[]), [1, 3], "a binding without headers takes all");
        for (bound, queue) in [(&all, 1), (&any, 2), (&binding("a.b"), 3), (&binding("#"), 1)] {
            routes.unbind(bound, QueueId(queue));
        }
        assert!(routes.root.is_bare(), "unbind left something");
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
            ("$sys.#", "$sys.paused"),
        ] {
            assert!(matches(pattern, topic), "{pattern} must take {topic}");
        }
        for (pattern, topic) in [
            ("#", "$sys.x"),
            ("*.x", "$sys.x"),
            ("a", "b"),
            ("a", "a.b"),
            ("*", "a.b"),
            ("a.*", "a"),
            ("a.#", "b.a"),
            ("*.#.*", "a"),
            ("a.#.c", "a.b"),
        ] {
            assert!(!matches(pattern, topic), "{pattern} must not take {topic}");
        }
    }

    #[test]
    fn each_queue_is_found_once_and_alone_after_unbinding() {
        let mut routes = Routes::default();
        for text in ["a.b", "a.*", "#"] {
            routes.bind(&binding(text), QueueId(1));
        }
        routes.bind(&binding("a.b"), QueueId(2));
        let topic = Topic::new("a.b").expect("a topic");
        assert_eq!(*routes.matching(&topic).queues, [QueueId(1), QueueId(2)]);
        routes.unbind(&binding("a.b"), QueueId(1));
        routes.unbind(&binding("#"), QueueId(1));
        assert_eq!(*routes.matching(&topic).queues, [QueueId(1), QueueId(2)], "a.* still binds it");
        routes.unbind(&binding("a.*"), QueueId(1));
        assert_eq!(*routes.matching(&topic).queues, [QueueId(2)]);
    }
}
