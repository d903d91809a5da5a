;; Polls one handle 400,000 times over in a single call, for ever: much work of the host for an instruction. | trapped
;;: limits {"fuel_max": 50000000, "wall_clock_ms_max": 3000}
(func (export "handle") (param $delivery i32) (result i32) (local $at i32) (local $handle i32)
  (drop (memory.grow (i32.const 100)))
  (local.set $handle (call $subscribe (i64.const 0)))
  (local.set $at (i32.const 131072))
  (loop $fill
    (i32.store (local.get $at) (local.get $handle))
    (local.set $at (i32.add (local.get $at) (i32.const 4)))
    (br_if $fill (i32.lt_u (local.get $at) (i32.const 1731072))))
  (loop $again (call $poll (i32.const 131072) (i32.const 400000) (i32.const 200)) (call $reset) (br $again))
  (unreachable))
