;; Loops before it is called, when it is instantiated. | out-of-fuel
(func $start (loop $again (br $again)))
(start $start)
(func (export "handle") (param $delivery i32) (result i32) (call $ok))
