;; Calls itself for ever through a table, with large frames. | stack-overflow
(type $f (func (param i64 i64 i64 i64 i64 i64 i64 i64) (result i64)))
(table 1 funcref)
(elem (i32.const 0) $deeper)
(func $deeper (type $f)
  (i64.add
    (call_indirect (type $f) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)
      (local.get 6) (local.get 7) (i32.const 0))
    (local.get 3)))
(func (export "handle") (param $delivery i32) (result i32)
  (drop (call_indirect (type $f) (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1)
    (i64.const 1) (i64.const 1) (i32.const 0)))
  (unreachable))
