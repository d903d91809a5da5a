;; Gives the host the same memory for everything, so that it writes one thing over the other. | success
;;: realloc (i32.const 4096)
(func (export "handle") (param $delivery i32) (result i32) (call $ok))
