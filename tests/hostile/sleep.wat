;; Sleeps for ever. | timed-out
;;: limits {"wall_clock_ms_max": 300}
(func (export "handle") (param $delivery i32) (result i32) (call $block (call $subscribe (i64.const 9000000000000000000))) (call $ok))
