;; Publishes 60 MB as one message, and then as its headers. | trapped
;;: limits {"fuel_max": 500000000, "wall_clock_ms_max": 3000}
(data (memory $memory) (i32.const 100) "hostile.flood")
(func (export "handle") (param $delivery i32) (result i32)
  (drop (memory.grow (i32.const 1000)))
  (loop $again
    (call $publish (i32.const 100) (i32.const 13) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 60000000) (i64.const 0) (i32.const 0)
      (i64.const 0) (i32.const 200))
    (call $reset)
    (br $again))
  (unreachable))
