;; Counts for ever. | state-limit
;;: limits {"fuel_max": 500000000, "wall_clock_ms_max": 5000}
(data (memory $memory) (i32.const 100) "key")
(func (export "handle") (param $delivery i32) (result i32)
  (loop $again (call $increment (i32.const 100) (i32.const 3) (i64.const 1) (i32.const 200)) (call $reset) (br $again))
  (unreachable))
