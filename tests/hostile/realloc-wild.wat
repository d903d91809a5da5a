;; Has the host write what it asked for beyond its memory. | trapped
;;: realloc (i32.const 0xfffffff0)
(func (export "handle") (param $delivery i32) (result i32) (call $ok))
