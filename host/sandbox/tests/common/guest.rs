//! Handlers in the text format. The types are those of `wit/`, written by hand, so that a test guest is a few lines
//! of core WebAssembly around them.

/// A handler to be put together.
#[derive(Default)]
pub struct Guest {
    memory: Option<&'static str>,
    functions: String,
    body: String,
    uses: Vec<Use>,
}

/// An interface that a guest imports.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Producer,
    State,
    Config,
    Exit,
    Stderr,
    Clock,
}

/// The guest answers `ok`.
pub const OK: &str = "(call $ok)";

/// Where `realloc` begins; below it a guest has its answer, its constants and what host functions answer.
const HEAP_AT: u32 = 4096;

impl Guest {
    /// A guest whose `handle` runs these instructions and leaves the address of its answer.
    pub fn new(body: &str) -> Self {
        Self { body: body.to_owned(), ..Self::default() }
    }

    /// Limits of its memory in pages, `1 16` for example.
    pub fn memory(mut self, limits: &'static str) -> Self {
        self.memory = Some(limits);
        self
    }

    /// More of its core module: functions, globals, data.
    pub fn with(mut self, text: &str) -> Self {
        self.functions += text;
        self
    }

    /// Other instructions for its `handle`.
    pub fn body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    pub fn using(mut self, uses: &[Use]) -> Self {
        self.uses.extend(uses);
        self
    }

    /// As a component.
    pub fn build(&self) -> Vec<u8> {
        wat::parse_str(self.text()).unwrap_or_else(|error| panic!("{error}\n{}", self.text()))
    }

    pub fn text(&self) -> String {
        let (mut imports, mut lowered, mut passed, mut core) = <(String, String, String, String)>::default();
        for part in self.uses.iter().map(|interface| interface.part()) {
            imports += part.import;
            for function in part.functions {
                let Function { name, core_type, .. } = function;
                lowered += &function.lowered();
                passed += &format!("(export \"{name}\" (func ${name}))");
                core += &format!("(import \"host\" \"{name}\" (func ${name} {core_type}))\n    ");
            }
        }
        let memory = self.memory.unwrap_or("1");
        let (functions, body) = (&self.functions, &self.body);
        format!(
            r#"(component
  {TYPES}
  {imports}
  (core module $libc
    (memory (export "memory") {memory})
    (global $heap (export "heap") (mut i32) (i32.const {HEAP_AT}))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
      (global.set $heap (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  {lowered}
  (core instance $host {passed})
  (core module $guest
    (import "libc" "memory" (memory $memory 0))
    (import "libc" "heap" (global $heap (mut i32)))
    {core}
    (global $calls (mut i32) (i32.const 0))
    (func $ok (result i32) (i32.store8 (i32.const 8) (i32.const 0)) (i32.const 8))
    ;; err(reject(text)) with the text that lies at $at
    (func $reject (param $at i32) (param $length i32) (result i32)
      (i32.store8 (i32.const 8) (i32.const 1))
      (i32.store8 (i32.const 16) (i32.const 2))
      (i32.store (i32.const 24) (local.get $at))
      (i32.store (i32.const 28) (local.get $length))
      (i32.const 8))
    (func $retry (param $after i64) (result i32)
      (i32.store8 (i32.const 8) (i32.const 1))
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store (i32.const 24) (i32.const 0))
      (i32.store (i32.const 28) (i32.const 0))
      (i32.store8 (i32.const 32) (i32.const 1))
      (i64.store (i32.const 40) (local.get $after))
      (i32.const 8))
    (func $defer (param $after i64) (result i32)
      (i32.store8 (i32.const 8) (i32.const 1))
      (i32.store8 (i32.const 16) (i32.const 1))
      (i64.store (i32.const 24) (local.get $after))
      (i32.const 8))
    {functions}
    (func $handle (export "handle") (param $delivery i32) (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      {body})
    (func (export "done") (param i32) (global.set $heap (i32.const {HEAP_AT}))))
  (core instance $guest (instantiate $guest
    (with "libc" (instance $libc)) (with "host" (instance $host))))
  (func $handle (param "delivery" $delivery) (result (result (error $failure)))
    (canon lift (core func $guest "handle") (memory $memory) (realloc $realloc) (post-return (core func $guest "done"))))
  (instance $handler (export "handle" (func $handle)))
  (export "wasmill:handler/handler@0.1.0" (instance $handler)))"#
        )
    }
}

/// `delivery` and `failure`, named by an import as every component names them.
const TYPES: &str = r#"(import "wasmill:handler/types@0.1.0" (instance $types
    (type $message' (record (field "id" string) (field "topic" string) (field "key" (option string))
      (field "content-type" (option string)) (field "headers" (list (tuple string string)))
      (field "data" (list u8)) (field "published-at" u64)))
    (export "message" (type $message (eq $message')))
    (type $delivery' (record (field "message" $message) (field "queue" string) (field "sequence" u64)
      (field "attempt" u32) (field "max-attempts" u32)))
    (export "delivery" (type (eq $delivery')))
    (type $retry' (record (field "reason" string) (field "after" (option u64))))
    (export "retry-request" (type $retry (eq $retry')))
    (type $failure' (variant (case "retry" $retry) (case "defer" u64) (case "reject" string)
      (case "throttle" u64)))
    (export "failure" (type (eq $failure')))))
  (alias export $types "delivery" (type $delivery))
  (alias export $types "failure" (type $failure))"#;

struct Part {
    import: &'static str,
    functions: &'static [Function],
}

struct Function {
    /// What the guest calls it.
    name: &'static str,
    instance: &'static str,
    export: &'static str,
    core_type: &'static str,
    options: &'static str,
}

impl Function {
    const fn new(name: &'static str, instance: &'static str, export: &'static str, core_type: &'static str) -> Self {
        Self { name, instance, export, core_type, options: "(memory $memory) (realloc $realloc)" }
    }

    /// One that handles numbers only.
    const fn plain(self) -> Self {
        Self { options: "", ..self }
    }

    fn lowered(&self) -> String {
        let Self { name, instance, export, options, .. } = self;
        format!("(core func ${name} (canon lower (func {instance} \"{export}\") {options}))\n  ")
    }
}

impl Use {
    fn part(self) -> Part {
        match self {
            Self::Producer => Part { import: PRODUCER, functions: PRODUCER_FUNCTIONS },
            Self::State => Part { import: STATE, functions: STATE_FUNCTIONS },
            Self::Config => Part { import: CONFIG, functions: CONFIG_FUNCTIONS },
            Self::Exit => Part { import: EXIT, functions: EXIT_FUNCTIONS },
            Self::Stderr => Part { import: STDERR, functions: STDERR_FUNCTIONS },
            Self::Clock => Part { import: CLOCK, functions: CLOCK_FUNCTIONS },
        }
    }
}

const PRODUCER: &str = r#"(import "wasmill:handler/producer@0.1.0" (instance $producer
    (type $outgoing' (record (field "topic" string) (field "key" (option string))
      (field "content-type" (option string)) (field "headers" (list (tuple string string))) (field "data" (list u8))
      (field "delay" (option u64)) (field "expires-after" (option u64))))
    (export "outgoing" (type $outgoing (eq $outgoing')))
    (type $error' (variant (case "invalid-topic" string) (case "invalid-message" string) (case "too-large" u64)))
    (export "publish-error" (type $error (eq $error')))
    (export "publish" (func (param "message" $outgoing) (result (result string (error $error)))))))
  "#;
/// topic, key?, content-type?, headers, data, delay?, expires-after?, where the result goes
const PRODUCER_FUNCTIONS: &[Function] = &[Function::new(
    "publish",
    "$producer",
    "publish",
    "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i64 i32)",
)];

const STATE: &str = r#"(import "wasmill:handler/state@0.1.0" (instance $state
    (type $error' (variant (case "invalid-key" string) (case "too-large" u64) (case "not-an-integer")
      (case "unavailable" string)))
    (export "state-error" (type $error (eq $error')))
    (type $page' (record (field "keys" (list string)) (field "next" (option string))))
    (export "key-page" (type $page (eq $page')))
    (export "get" (func (param "key" string) (result (result (option (list u8)) (error $error)))))
    (export "set" (func (param "key" string) (param "value" (list u8)) (result (result (error $error)))))
    (export "increment" (func (param "key" string) (param "delta" s64) (result (result (error $error)))))
    (export "list-keys" (func (param "prefix" string) (param "after" (option string))
      (result (result $page (error $error)))))))
  "#;
const STATE_FUNCTIONS: &[Function] = &[
    Function::new("get", "$state", "get", "(param i32 i32 i32)"),
    Function::new("set", "$state", "set", "(param i32 i32 i32 i32 i32)"),
    Function::new("increment", "$state", "increment", "(param i32 i32 i64 i32)"),
    Function::new("list-keys", "$state", "list-keys", "(param i32 i32 i32 i32 i32 i32)"),
];

const CONFIG: &str = r#"(import "wasi:config/store@0.2.0-draft" (instance $config
    (type $error' (variant (case "upstream" string) (case "io" string)))
    (export "error" (type $error (eq $error')))
    (export "get" (func (param "key" string) (result (result (option string) (error $error)))))))
  "#;
const CONFIG_FUNCTIONS: &[Function] = &[Function::new("config", "$config", "get", "(param i32 i32 i32)")];

const EXIT: &str = r#"(import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
  "#;
const EXIT_FUNCTIONS: &[Function] = &[Function::new("exit", "$exit", "exit", "(param i32)").plain()];

const CLOCK: &str = r#"(import "wasi:io/poll@0.2.0" (instance $clock
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $clock "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $monotonic
    (alias outer 1 $pollable (type $outer))
    (export "pollable" (type $p (eq $outer)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
  "#;
const CLOCK_FUNCTIONS: &[Function] = &[
    Function::new("subscribe", "$monotonic", "subscribe-duration", "(param i64) (result i32)").plain(),
    Function::new("block", "$clock", "[method]pollable.block", "(param i32)").plain(),
];

const STDERR: &str = r#"(import "wasi:io/error@0.2.0" (instance $io (export "error" (type (sub resource)))))
  (alias export $io "error" (type $io-error))
  (import "wasi:io/streams@0.2.0" (instance $stderr
    (export "output-stream" (type $stream (sub resource)))
    (alias outer 1 $io-error (type $outer))
    (export "error" (type $error (eq $outer)))
    (type $stream-error' (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error')))
    (export "[method]output-stream.blocking-write-and-flush" (func (param "self" (borrow $stream))
      (param "contents" (list u8)) (result (result (error $stream-error)))))))
  (alias export $stderr "output-stream" (type $stream))
  (import "wasi:cli/stderr@0.2.0" (instance $stderr-of
    (alias outer 1 $stream (type $outer))
    (export "output-stream" (type $s (eq $outer)))
    (export "get-stderr" (func (result (own $s))))))
  "#;
const STDERR_FUNCTIONS: &[Function] = &[
    Function::new("get-stderr", "$stderr-of", "get-stderr", "(result i32)").plain(),
    Function::new("write", "$stderr", "[method]output-stream.blocking-write-and-flush", "(param i32 i32 i32 i32)"),
];
