;; Publishes for ever. | publish-limit
(data (memory $memory) (i32.const 100) "hostile.flood")
(func (export "handle") (param $delivery i32) (result i32)
  (loop $again
    (call $publish (i32.const 100) (i32.const 13) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 0) (i64.const 0) (i32.const 0)
      (i64.const 0) (i32.const 200))
    (call $reset)
    (br $again))
  (unreachable))
