;; Asks for all the random bytes that one call gives, for ever. | timed-out
;;: limits {"fuel_max": 1000000000, "wall_clock_ms_max": 500}
(func (export "handle") (param $delivery i32) (result i32)
  (loop $again (call $random (i64.const 4096) (i32.const 200)) (call $reset) (br $again))
  (unreachable))
