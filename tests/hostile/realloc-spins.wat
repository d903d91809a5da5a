;; Loops when the host asks it for memory. | out-of-fuel
;;: realloc (loop $again (br $again)) (unreachable)
(func (export "handle") (param $delivery i32) (result i32) (call $ok))
