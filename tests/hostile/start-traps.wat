;; Traps when it is instantiated. | trapped
(func $start (unreachable))
(start $start)
(func (export "handle") (param $delivery i32) (result i32) (call $ok))
