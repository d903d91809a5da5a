;; Divides by zero. | trapped
(func (export "handle") (param $delivery i32) (result i32) (i32.div_u (i32.const 1) (i32.const 0)))
