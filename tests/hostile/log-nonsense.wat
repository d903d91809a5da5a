;; Prints what is no text: control characters, broken UTF-8, a line of 100 KB. | success
(data (memory $memory) (i32.const 100) "\1b[2J\ff\fe\00\0d\0a\e2\80\ae evil \f4\90\80\80")
(func (export "handle") (param $delivery i32) (result i32) (local $stream i32) (local $n i32)
  (local.set $stream (call $get-stderr))
  (call $print (local.get $stream) (i32.const 100) (i32.const 25) (i32.const 200))
  (loop $again
    (call $print (local.get $stream) (i32.const 1000) (i32.const 4096) (i32.const 200))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $n) (i32.const 25))))
  (call $ok))
