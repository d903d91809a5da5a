;; Begins with data beyond its memory. | trapped
(data (memory $memory) (i32.const 131070) "12345")
(func (export "handle") (param $delivery i32) (result i32) (call $ok))
