;; Begins with elements beyond its table. | trapped
(table 1 funcref)
(elem (i32.const 5) $f)
(func $f)
(func (export "handle") (param $delivery i32) (result i32) (call $ok))
