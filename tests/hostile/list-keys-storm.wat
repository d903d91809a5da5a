;; Lists its keys for ever. | out-of-fuel
;;: limits {"fuel_max": 5000000, "wall_clock_ms_max": 20000}
(func (export "handle") (param $delivery i32) (result i32)
  (loop $again
    (call $list-keys (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 200))
    (call $reset) (br $again))
  (unreachable))
