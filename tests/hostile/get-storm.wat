;; Reads its state for ever. | out-of-fuel
;;: limits {"fuel_max": 20000000, "wall_clock_ms_max": 20000}
(data (memory $memory) (i32.const 100) "key")
(func (export "handle") (param $delivery i32) (result i32)
  (loop $again (call $get (i32.const 100) (i32.const 3) (i32.const 200)) (call $reset) (br $again))
  (unreachable))
