;; Loops for ever, with all the fuel in the world: the clock ends it. | timed-out
;;: limits {"fuel_max": 1000000000000, "wall_clock_ms_max": 300}
(func (export "handle") (param $delivery i32) (result i32) (loop $again (br $again)) (unreachable))
