;; Grows its memory for ever and does not mind being refused. | out-of-fuel
;;: limits {"fuel_max": 5000000, "wall_clock_ms_max": 20000}
;;: memory 1
(func (export "handle") (param $delivery i32) (result i32) (loop $again (drop (memory.grow (i32.const 1))) (br $again)) (unreachable))
