;; Stores 64 KiB under one key for ever. | state-limit
(data (memory $memory) (i32.const 100) "key")
(func (export "handle") (param $delivery i32) (result i32)
  (loop $again
    (call $set (i32.const 100) (i32.const 3) (i32.const 0) (i32.const 65536) (i32.const 200))
    (call $reset) (br $again))
  (unreachable))
