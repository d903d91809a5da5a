;; Traps when the host asks it for memory. | trapped
;;: realloc (unreachable)
(func (export "handle") (param $delivery i32) (result i32) (call $ok))
