;; Gives the host memory that is not aligned. | trapped
;;: realloc (i32.const 4097)
(func (export "handle") (param $delivery i32) (result i32) (call $ok))
