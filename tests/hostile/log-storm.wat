;; Prints for ever. | out-of-fuel
;;: limits {"fuel_max": 500000, "wall_clock_ms_max": 20000}
(func (export "handle") (param $delivery i32) (result i32) (local $stream i32)
  (local.set $stream (call $get-stderr))
  (loop $again (call $print (local.get $stream) (i32.const 0) (i32.const 4096) (i32.const 200)) (br $again))
  (unreachable))
