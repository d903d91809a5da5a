;; Asks for the time for ever. | out-of-fuel
;;: limits {"fuel_max": 5000000, "wall_clock_ms_max": 20000}
(func (export "handle") (param $delivery i32) (result i32) (loop $again (drop (call $now)) (call $wall (i32.const 200)) (br $again)) (unreachable))
