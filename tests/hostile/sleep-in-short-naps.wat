;; Sleeps for a millisecond, for ever. | timed-out
;;: limits {"wall_clock_ms_max": 300}
(func (export "handle") (param $delivery i32) (result i32) (local $nap i32)
  (loop $again
    (call $block (local.tee $nap (call $subscribe (i64.const 1000000))))
    (call $drop (local.get $nap))
    (br $again))
  (unreachable))
