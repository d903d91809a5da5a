;; Uses a stream as if it were a clock. | trapped
(func (export "handle") (param $delivery i32) (result i32) (call $block (call $get-stderr)) (call $ok))
