;; Overflows the stack when it is instantiated. | stack-overflow
(func $start (call $start) (call $start))
(start $start)
(func (export "handle") (param $delivery i32) (result i32) (call $ok))
