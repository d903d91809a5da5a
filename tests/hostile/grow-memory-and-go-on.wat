;; Grows its memory for ever and does not mind being refused. | out-of-fuel
;;: memory 1
(func (export "handle") (param $delivery i32) (result i32) (loop $again (drop (memory.grow (i32.const 1))) (br $again)) (unreachable))
