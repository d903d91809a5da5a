;; Calls a function of the table as if it had another type. | trapped
(table 1 funcref)
(elem (i32.const 0) $other)
(func $other (param i64))
(func (export "handle") (param $delivery i32) (result i32) (call_indirect (result i32) (i32.const 0)))
