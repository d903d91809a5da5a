;; Answers with a failure that the contract does not have. | trapped
(func (export "handle") (param $delivery i32) (result i32) (i32.store8 (i32.const 8) (i32.const 1)) (i32.store8 (i32.const 16) (i32.const 200)) (i32.const 8))
