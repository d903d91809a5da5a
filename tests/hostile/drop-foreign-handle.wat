;; Drops a handle that it does not have. | trapped
(func (export "handle") (param $delivery i32) (result i32) (call $drop (i32.const 77)) (call $ok))
