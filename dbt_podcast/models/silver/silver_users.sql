-- grain: one user of the reference data
{{ config(alias="users") }}

with

users as (

    select * from {{ ref("users") }}

)

select
    cast(user_id as varchar) as user_id,
    cast(signup_date as date) as signup_date,
    cast(country as varchar) as country
from users
