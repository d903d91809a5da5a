;; Publishes what cannot be published, for ever: it counts for nothing. | out-of-fuel
;;: limits {"fuel_max": 5000000, "wall_clock_ms_max": 20000}
(data (memory $memory) (i32.const 100) "no topic!")
(func (export "handle") (param $delivery i32) (result i32)
  (loop $again
    (call $publish (i32.const 100) (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 0) (i64.const 0) (i32.const 0)
      (i64.const 0) (i32.const 200))
    (call $reset)
    (br $again))
  (unreachable))
