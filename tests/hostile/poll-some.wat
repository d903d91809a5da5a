;; Polls one handle 1,000 times over in a single call, for ever. | timed-out
;;: limits {"fuel_max": 1000000000, "wall_clock_ms_max": 500}
(func (export "handle") (param $delivery i32) (result i32) (local $at i32) (local $handle i32)
  (local.set $handle (call $subscribe (i64.const 0)))
  (local.set $at (i32.const 65536))
  (loop $fill
    (i32.store (local.get $at) (local.get $handle))
    (local.set $at (i32.add (local.get $at) (i32.const 4)))
    (br_if $fill (i32.lt_u (local.get $at) (i32.const 69536))))
  (loop $again (call $poll (i32.const 65536) (i32.const 1000) (i32.const 200)) (call $reset) (br $again))
  (unreachable))
