;; Prints 64 KiB at a time for ever, without asking whether there is room. | out-of-fuel
;;: limits {"fuel_max": 500000, "wall_clock_ms_max": 20000}
(func (export "handle") (param $delivery i32) (result i32) (local $stream i32)
  (local.set $stream (call $get-stderr))
  (loop $again
    (call $write (local.get $stream) (i32.const 0) (i32.const 65536) (i32.const 200)) (br $again))
  (unreachable))
